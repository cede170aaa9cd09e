// SPDX-License-Identifier: BSD-3-Clause
// Numbers of grad_input by whole patches: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

namespace convt3d::cuda::shuffle_gemm {

// Two warpgroups of 64 positions each, and a warp that copies.
inline constexpr int kPatchRows = 128;
inline constexpr int kPatchConsumers = 256;
inline constexpr int kPatchThreads = kPatchConsumers + 32;
// Of K in a chunk: a row of the 128-byte swizzle.
inline constexpr int kPatchChunk = 128;
inline constexpr int kPatchSourceBytes = kPatchRows * kPatchChunk;
// 16-bit NCDHW: 64 columns of 64 rows of each warpgroup on their way to the result, 144 bytes
// apart: pairs of rows of four quads' columns are on different banks.
inline constexpr int kPatchStagingPitch = 144;
inline constexpr int kPatchStagingBytes = 2 * 64 * kPatchStagingPitch;
// Blocks on an SM. Limit: 112 registers where there are two.
constexpr int patch_blocks(int columns) { return columns == 64 ? 2 : 1; }
// Limit: 227 KB for a block, 228 for an SM, of which each block takes one more; less the barriers.
constexpr int64_t patch_shared(int64_t blocks) { return (blocks == 2 ? 113 : 227) * 1024 - 512; }
inline constexpr int kPatchMaxStages = 8;
// Stages of an SM's blocks in which what memory takes to answer is under way: 96 KB.
inline constexpr int kPatchEnoughStages = 6;
// Lines (td, th) of a patch in NDHWC, each with a tensor map among the kernel's parameters (4 KB).
inline constexpr int64_t kPatchMaxLines = 16;
// Limit: the largest cluster that every device launches.
inline constexpr int64_t kPatchMaxSplits = 8;
// Limit: elements of a box of a tensor map on one axis.
inline constexpr int64_t kPatchMaxBox = 256;

// Folded positions (patch_config.h): enough of them to outweigh the launch that packs the weight,
// and columns, of whose products all but one in `fold` are zeros, that take less time than memory.
inline constexpr int64_t kPatchFoldPositions = 1 << 16, kPatchFoldColumns = 256;

// For the choice: clocks of a chunk, of a tile's end, and of the sums' way through a cluster.
// Measured on an H200: 0.25 us a chunk with 64 columns, 0.48 with 128, in NCDHW 0.5 and 0.75, of one
// block.
constexpr double patch_chunk_clocks(int columns, bool lines) {
  return lines ? (columns == 64 ? 850 : 1300) : (columns == 64 ? 450 : 800);
}
inline constexpr double kPatchTileClocks = 600;
inline constexpr double kPatchClusterClocks = 1500;
inline constexpr double kPatchSplitClocks = 100;
// Of all blocks of an SM, from L2.
inline constexpr double kPatchBytesPerClock = 55;
// Limit: a cluster's blocks share a GPC of at least so many SMs.
inline constexpr int64_t kPatchClusterSms = 16;

}  // namespace convt3d::cuda::shuffle_gemm
