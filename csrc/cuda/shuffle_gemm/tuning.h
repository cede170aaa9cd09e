// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the shuffle_gemm family: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "cuda/shuffle_gemm/config.h"

namespace convt3d::cuda::shuffle_gemm {

// Limit: 32-bit indices, to which a tile's extent is added.
inline constexpr int64_t kMaxIndex = int64_t{1} << 30;

// Measured: relative L2 error of split products 1.2e-7 with 7 in a sum, torch's IEEE path 0.5e-7;
// with 16 and more torch's grows to where twice of it is more than ours.
inline constexpr int64_t kMinSplitDepth = 16;

struct SharedMemoryLimits {
  int64_t per_block, per_sm;  // bytes
};
// Limits of the CUDA programming guide, by 10 * major + minor; unknown devices get the least.
inline SharedMemoryLimits shared_memory_limits(int arch) {
  constexpr int64_t kKiB = 1024;
  if (arch == 80 || arch == 87) return {163 * kKiB, 164 * kKiB};
  if (arch / 10 == 9 || arch / 10 == 10) return {227 * kKiB, 228 * kKiB};
  return {99 * kKiB, 100 * kKiB};
}
// Limit: what the hardware itself takes of each block's.
inline constexpr int64_t kReservedSharedMemory = 1024;

// From where on wgmma outweighs implicit_gemm's other costs in float32's grad_input of k2s2.
// Measured on an H200, us, here / implicit_gemm: 256 channels, 8192 positions 104 / 78; 128
// channels, 65536 positions 208 / 160; but 320 channels, 1024 positions 55 / 64; 64 channels 421 /
// 647.
inline constexpr int64_t kWgmmaChannels = 128, kWgmmaPositions = 8192;

// Clocks of a chunk of a block alone on its SM, what all blocks of an SM get from L2 in a clock, and
// what adding up the parts of a split K takes.
constexpr double chunk_clocks(Precision precision) { return precision == Precision::fp32 ? 1500 : 700; }
inline constexpr double kCachedPerClock = 40;
inline constexpr double kSplitClocks = 1500;

// Useful work per time of a tile that is full, relative to the largest: its operands are fetched
// again more often.
inline double efficiency(TileKind tile) {
  switch (tile) {
    case TileKind::t256x64:
      return 0.9;
    case TileKind::t128x128:
      return 1.0;
    case TileKind::t64x64:
      return 0.85;
    case TileKind::t128x32:
      return 0.6;
  }
  return 1.0;
}

}  // namespace convt3d::cuda::shuffle_gemm
