// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the group_gemm family: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "cuda/sm90/chain.h"

namespace convt3d::cuda::group_gemm {

// Channels of a chunk: 16 bytes, the N of mma.m16n8k16 and half of its K.
inline constexpr int kChunk = 8;
inline constexpr int kWarps = 8;
inline constexpr int kThreads = 32 * kWarps;
// Blocks on an SM that the registers allow: 32 sums, 16 of A and 4 of B a thread. On others than
// 9.0 a third block would spill a register.
constexpr int resident(int arch) { return arch == 90 ? 3 : 2; }
// Cells that a warp multiplies at once, in tiles of 16: what one load of B serves.
inline constexpr int kRowTiles = 4;
inline constexpr int kUnitRows = 16 * kRowTiles;

// Limits of tables in the kernel's parameters.
inline constexpr int kMaxStride = 8;
inline constexpr int kMaxTapsW = 16;
inline constexpr int kMaxLists = 64;
// Chunks of in channels that one part reads: beyond, most of B's blocks are zeros.
inline constexpr int64_t kMaxInChunks = 4;
// Instructions that one sum runs through, which truncate: docs/numerics.md.
inline constexpr int64_t kMaxPairs = sm90::max_chain(Precision::bf16);

// Limit of compute capability 8.6, 8.9 and 12.0: 99 KB of shared memory for a block.
inline constexpr int64_t kMaxShared = 96 * 1024;
// Of an SM of 9.0, less the kilobyte that every block takes besides.
inline constexpr int64_t kSmShared = 227 * 1024;
inline constexpr int64_t kBlockShared = 1024;
// Counts are 32-bit; coordinates of a tile's cells 16-bit.
inline constexpr int64_t kMaxCount = int64_t{1} << 30;
inline constexpr int64_t kMaxExtent = int64_t{1} << 15;

// For the choice of a tile, clocks of an SM: a chunk of the halo staged, 64 cells of one residue of
// d and h, sixteen bytes stored, and the barriers of one plane of outputs.
inline constexpr double kStageClocks = 1.2;
inline constexpr double kPairClocks = 20;
inline constexpr double kUnitClocks = 120;
inline constexpr double kStoreClocks = 0.65;
inline constexpr double kPlaneClocks = 1000;
inline constexpr int64_t kMaxTileDepth = 4;

}  // namespace convt3d::cuda::group_gemm
