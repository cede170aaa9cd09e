// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the shuffle_gemm family: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "cuda/shuffle_gemm/config.h"

namespace convt3d::cuda::shuffle_gemm {

// Limit: 32-bit indices, to which a tile's extent is added.
inline constexpr int64_t kMaxIndex = int64_t{1} << 30;

// Measured: relative L2 error of split products 1.2e-7 with 7 in a sum, torch's IEEE path 0.5e-7;
// with 16 and more torch's grows to where twice of it is more than ours. forward: 3.8 times torch's
// with 1 product, 2.0 with 6, 1.8 with 8 (and 2.7 of but 8 weights), 1.4 with 16 (H200, 2026-11-22,
// no file).
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

// The same for TF32's forward of k2s2 and halo_gemm. Measured on an H200, us, here / halo_gemm: 256
// channels, 8192 positions 46 / 34; but 320 channels, 1024 positions 22 / 22; 768 channels, 864
// positions 23 / 38.
inline constexpr int64_t kHaloChannels = 256, kHaloPositions = 4096;

// Blocks of one tile each: clocks of a chunk, and more of it for each block on the SM; of adding up
// the parts of a split K, and more of it for each part.
struct SmallClocks {
  double chunk, shared_chunk, cluster, split;
};
// Measured on an H200: 0.54 us a chunk of 64x64 with one block on an SM, 0.74 with two, float32 0.8
// and 1.3; of 128x128 1.1 us; two parts of 64x64 1.5 us, of 128x128 2.2, four 3.9.
constexpr SmallClocks small_clocks_of(TileKind tile, Precision precision) {
  if (tile == TileKind::t128x128_shared) return {0, 1870, 900, 1430};
  if (precision == Precision::fp32) return {600, 800, 1700, 400};
  return {600, 325, 1700, 400};
}

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
    case TileKind::t128x128_shared:
      break;
  }
  return 1.0;
}

}  // namespace convt3d::cuda::shuffle_gemm
