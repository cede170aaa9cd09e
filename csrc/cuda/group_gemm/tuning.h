// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the group_gemm family: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "cuda/sm90/chain.h"
#include "plan/description.h"

namespace convt3d::cuda::group_gemm {

// Out channels of a part: the N of mma.sync.
inline constexpr int kColumns = 8;
inline constexpr int kWarps = 8;
inline constexpr int kThreads = 32 * kWarps;
// Blocks on an SM that the registers allow: 32 sums, 16 of A and 4 of B a thread; in float32 they
// are split, and have a second sum. On others than 9.0 a third block would spill a register.
constexpr int resident(int arch, Precision precision) {
  return arch == 90 && precision != Precision::fp32 ? 3 : 2;
}
// Cells that a warp multiplies at once, in tiles of 16: what one load of B serves.
inline constexpr int kRowTiles = 4;
inline constexpr int kUnitRows = 16 * kRowTiles;

// Limits of tables in the kernel's parameters.
inline constexpr int kMaxStride = 8;
inline constexpr int kMaxTapsW = 16;
inline constexpr int kMaxLists = 64;
// Measured: of 43 random problems with 48 to 64 residues and so few positions direct, subpixel_gemm
// or few_channels are 1.6 to 8 times as fast (H200, 2026-11-22).
inline constexpr int64_t kManyResidues = 45, kFewPositions = 14000;
// In channels that one part reads: beyond, most of B's blocks are zeros.
inline constexpr int64_t kMaxIns = 32;
// The fewest of a group in TF32 and float32: a chunk.
inline constexpr int64_t kMinFloatIns = 4;
// float32: products of a sum, averaged over the residues. The split parts of a number hold 2**-24
// of it less, which one rounding of a product does not; sums of 16 hide it.
inline constexpr int64_t kMinProducts = 16;
// The same for one group, whose sums of 64 cuDNN keeps at 3.6e-8 where this family has 7.6e-8.
inline constexpr int64_t kMinProductsOfOneGroup = 96;

// float32, as bits of magnitudes. From 2**56 on products of two, or of their parts, may reach an
// infinity; below 2**-96 a low part ends (TF32 ends at 2**-136) less than 2**-24 below the number.
inline constexpr unsigned kLargeBits = (127 + 56) << 23;
inline constexpr unsigned kSmallBits = (127 - 96) << 23;

// Limit of compute capability 8.6, 8.9 and 12.0: 99 KB of shared memory for a block.
inline constexpr int64_t kMaxShared = 96 * 1024;
// Of an SM of 9.0, less the kilobyte that every block takes besides.
inline constexpr int64_t kSmShared = 227 * 1024;
inline constexpr int64_t kBlockShared = 1024;
// Counts are 32-bit; coordinates of a tile's cells 16-bit.
inline constexpr int64_t kMaxCount = int64_t{1} << 30;
inline constexpr int64_t kMaxExtent = int64_t{1} << 15;

// For the choice of a tile, clocks of an SM: a chunk of the halo staged, 64 cells of one residue of
// d and h (and a pair of slices of them), sixteen bytes stored, and the barriers of one plane of
// outputs.
inline constexpr double kStageClocks = 1.2;
constexpr double pair_clocks(Precision precision) { return precision == Precision::fp32 ? 60 : 20; }
inline constexpr double kUnitClocks = 120;
inline constexpr double kStoreClocks = 0.65;
inline constexpr double kPlaneClocks = 1000;
inline constexpr int64_t kMaxTileDepth = 4;

}  // namespace convt3d::cuda::group_gemm
