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
// Blocks on an SM. Limit: 96 registers where there are two.
constexpr int patch_blocks(int columns) { return columns == 64 ? 2 : 1; }
// Limit: 227 KB for a block, 228 for an SM, of which each block takes one more; less the barriers.
constexpr int64_t patch_shared(int64_t blocks) { return (blocks == 2 ? 113 : 227) * 1024 - 512; }
inline constexpr int kPatchMaxStages = 8;
// A warpgroup's sums of a pair of eight columns.
inline constexpr int kPatchPairBytes = 64 * 16 * 4;
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

// For the choice, clocks: of a chunk, of which a block alone waits for the rest of what memory
// takes to answer; of a tile's end; and of the sums' way through a cluster. Measured on an H200:
// 0.22 us a chunk with 64 columns, 0.31 with 128, in NCDHW 0.28 and 0.33; with three stages 0.37;
// clusters of 2, 4 and 8 add 1.3, 1.6 and 2.2 us with 64 columns, of 2 and 4 3.9 and 4.3 us with
// 128.
constexpr double patch_chunk_clocks(int columns, bool lines, int64_t element) {
  if (!lines) return columns == 64 ? 375 : 520;
  if (element == 4) return columns == 64 ? 560 : 590;
  return columns == 64 ? 480 : 550;
}
inline constexpr double kPatchAnswerClocks = 1900;
inline constexpr double kPatchTileClocks = 600;
constexpr double patch_cluster_clocks(int columns, int64_t splits) {
  return (columns == 64 ? 1700.0 : 6100.0) + 250.0 * static_cast<double>(splits);
}
// From L2 to each of all SMs. Measured: 96 blocks that fetch 75 MB in 8.2 us.
inline constexpr double kPatchBytesPerClock = 41;
// Eighths of the SMs on which clusters find room: GPCs differ in size. Measured: 32 clusters of 4,
// of one block on an SM, take two rounds.
inline constexpr int64_t kPatchClusterShare = 7;
// Tiles from which on two blocks on an SM are faster, of layers with one slice. Measured, us, one /
// two, in NCDHW: 6400 tiles 110 / 94, 4096 101 / 93, 1204 50.8 / 49.1, 800 40.8 / 41.1, but with
// weights that do not stay 924 tiles 75 / 85; in NDHWC 4096 172 / 167, but 640 56 / 59.
constexpr int64_t patch_pair_tiles(bool lines) { return lines ? 1024 : 2048; }

}  // namespace convt3d::cuda::shuffle_gemm
