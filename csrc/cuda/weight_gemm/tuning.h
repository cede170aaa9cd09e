// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the weight_gemm family: "limit" says which, "estimate" serves the choice of a cut.
#pragma once
#include <cstdint>

namespace convt3d::cuda::weight_gemm {

// Limit: registers. Three warps on each quarter of an SM leave 168 to a thread, of which 112 are
// sums; a fourth would leave 128.
inline constexpr int kLoadWarps = 4, kMaxWarps = 8;
inline constexpr int kMaxThreads = 32 * (kLoadWarps + kMaxWarps);
// Limit: the tiles spill registers from 10.0 on, so that there the kernels are empty.
inline constexpr int kEndArch = 100;
// Limit: 16 named barriers, of which a stage takes two.
inline constexpr int kMinStages = 2, kMaxStages = 4;
// Limit: 32-bit coordinates and counts, to which a tile's extent is added.
inline constexpr int64_t kMaxIndex = int64_t{1} << 29;
// Below, three quarters of a block of 16 channels are padding.
inline constexpr int64_t kMinChannels = 5;
// Positions of a tile: fewer do not hide a tile's barriers, more leave no room for stages.
inline constexpr int64_t kMinPositions = 16, kMaxPositions = 512;
// Ways to cut an axis that are looked at.
inline constexpr int64_t kMaxCuts = 10;
// Products (of 16-bit or TF32 instructions) added in one chain: each truncates, by about 1e-8 of
// the sum on Hopper; 2000 to 12000 broke the error rule.
inline constexpr int64_t kMaxChain = 1024;
// Positions below which float32 sums have a smaller error product by product.
inline constexpr int64_t kMinSum = 16;
// Bound of the workspace, unless one copy of the weight alone is larger.
inline constexpr int64_t kMaxPartialBytes = int64_t{64} << 20;

// Limits of the CUDA programming guide, by 10 * major + minor; unknown devices get the least.
inline int64_t max_shared_bytes(int arch) {
  constexpr int64_t kKiB = 1024;
  if (arch == 80 || arch == 87) return 163 * kKiB;
  if (arch / 10 == 9 || arch / 10 == 10) return 227 * kKiB;
  return 99 * kKiB;
}

// Estimates in clocks of an SM.
inline constexpr double kProductClocks = 7.5;       // an mma.sync of one of its four parts
inline constexpr double kLeastTurns = 1.6;          // of warps on a quarter of an SM
inline constexpr double kCopyBytesPerClock = 20;    // cp.async, 16 bytes each
inline constexpr double kGatherBytesPerClock = 5;   // per byte of an element
inline constexpr double kTileClocks = 400;          // barriers of a tile
inline constexpr double kBlockClocks = 6000;        // tables, first load and result of a block
inline constexpr double kReduceBytesPerClock = 12;  // partial sums, written and read
inline constexpr double kReduceClocks = 5000;       // the second launch

}  // namespace convt3d::cuda::weight_gemm
