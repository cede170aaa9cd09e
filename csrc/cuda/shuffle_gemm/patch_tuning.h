// SPDX-License-Identifier: BSD-3-Clause
// Numbers of grad_input by whole patches: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::shuffle_gemm {

// Two warpgroups of 64 positions each, and a warp that copies.
inline constexpr int kPatchRows = 128;
inline constexpr int kPatchConsumers = 256;
// float32 of 128 columns keeps two sets of sums: the copying warp's whole warpgroup hands over
// registers. Limit: the three have 504 of a thread each.
constexpr bool patch_hands_over(int columns, Precision precision) {
  return columns == 128 && precision == Precision::fp32;
}
inline constexpr int kPatchManyRegisters = 224, kPatchFewRegisters = 56;
constexpr int patch_threads(int columns, Precision precision) {
  return kPatchConsumers + (patch_hands_over(columns, precision) ? 128 : 32);
}
// Of K in a chunk: a row of the 128-byte swizzle.
inline constexpr int kPatchChunk = 128;
inline constexpr int kPatchSourceBytes = kPatchRows * kPatchChunk;
// 16-bit NCDHW: 64 columns of 64 rows of each warpgroup on their way to the result, 144 bytes
// apart: pairs of rows of four quads' columns are on different banks.
inline constexpr int kPatchStagingPitch = 144;
inline constexpr int kPatchStagingBytes = 2 * 64 * kPatchStagingPitch;
// Of a weight in shared memory: float32 is the sum of two TF32 numbers.
constexpr int patch_parts(Precision precision) { return precision == Precision::fp32 ? 2 : 1; }
// Blocks on an SM. Limit: 96 registers where there are two.
constexpr int patch_blocks(int columns, Precision precision) {
  return columns == 64 && precision != Precision::fp32 ? 2 : 1;
}
// Limit: 227 KB for a block, 228 for an SM, of which each block takes one more; less the barriers.
constexpr int64_t patch_shared(int64_t blocks) { return (blocks == 2 ? 113 : 227) * 1024 - 512; }
inline constexpr int kPatchMaxStages = 8;
// Forward: of a column, where it goes and its bias.
inline constexpr int kPatchPlaceBytes = 12;
// A warpgroup's sums of a pair of eight columns.
inline constexpr int kPatchPairBytes = 64 * 16 * 4;
// Stages of an SM's blocks in which what memory takes to answer is under way: 96 KB.
inline constexpr int kPatchEnoughStages = 6;
// The same of float32, whose three products of a stage take 770 clocks or more.
inline constexpr int kPatchEnoughSplitStages = 4;
// Lines (td, th) of a patch in NDHWC, each with a tensor map among the kernel's parameters (4 KB).
inline constexpr int64_t kPatchMaxLines = 16;
// float32: bytes of K that outweigh the launch that splits the weight. Chunks that are mostly zeros
// cost their products: 384->5 k2x4x4 in NDHWC, lines of 80 bytes, 1470 us, by mma.sync 1295.
inline constexpr int64_t kPatchSplitDepth = 256;

// Forward: where it outweighs the launch that turns the weight. Measured on an H200, us, turned /
// without, NCDHW and NDHWC:
//   float32  64->32 k2 in 2x64^3 333 / 408 and 318 / 402, 256->128 k2 in 2x16^3 56 / 95 and
//            53 / 96, 320->256 k2 in 2x8^3 24 / 34 and 24 / 35, 320->320 k2 in 2x4^3 17 / 16 and 17
//            / 17, 384->5 k2x4x4 976 / 1320 and 746 / 1350, but 32->128 k1x2x2 in 103544 121 / 106
//            in NDHWC, and 200->512 k4 of 100 positions 62 / 52
//   TF32     256->128 k2 36 / 45 and 31 / 38, 320->256 k2 17.7 / 22.3 and 16.5 / 24, 768->128 k2 in
//            4x6^3 22.3 / 22.8 and 17.3 / 25.3, but 64->32 k2 in 2x64^3 234 / 214, 192->14 k2x4x4
//            in 2x32^3 98 / 82 in NCDHW, 320->320 k2 in 2x4^3 15.3 / 12.7
inline constexpr int64_t kPatchTurnPositions = 512, kPatchTurnMostPositions = 1 << 16;
inline constexpr int64_t kPatchTurnDepth = 256, kPatchTurnSplitDepth = 64;  // in_channels
inline constexpr int64_t kPatchMaxTurnDepth = 1 << 20;  // limit: blocks of a launch in y
inline constexpr int64_t kPatchTurnWeights = 1 << 15;   // of each position, float32
inline bool turning_pays(int64_t positions, int64_t depth, int64_t columns, Precision precision) {
  if (depth > kPatchMaxTurnDepth) return false;
  if (precision == Precision::fp32) {
    return depth >= kPatchTurnSplitDepth && depth * columns <= kPatchTurnWeights * positions;
  }
  return depth >= kPatchTurnDepth && positions >= kPatchTurnPositions &&
         positions < kPatchTurnMostPositions;
}

// Limit: the largest cluster that every device launches.
inline constexpr int64_t kPatchMaxSplits = 8;
// Limit: elements of a box of a tensor map on one axis.
inline constexpr int64_t kPatchMaxBox = 256;

// Folded positions (patch_config.h): enough of them to outweigh the launch that packs the weight,
// and columns, of whose products all but one in `fold` are zeros, that take less time than memory.
inline constexpr int64_t kPatchFoldPositions = 1 << 16, kPatchFoldColumns = 256;

// For the choice, clocks: of a chunk, of which a block alone waits for the rest of what memory
// takes to answer; of a tile's end; and of the sums' way through a cluster. Measured on an H200:
// 0.22 us a chunk with 64 columns, 0.31 with 128 (TF32 0.47), in NCDHW 0.28 and 0.33; with three
// stages 0.37; clusters of 2, 4 and 8 add 1.3, 1.6 and 2.2 us with 64 columns, of 2 and 4 3.9
// and 4.3 us with 128.
constexpr double patch_chunk_clocks(int columns, bool lines, Precision precision) {
  // Limit: 24 instructions of both warpgroups, half a clock a column; the rest is a guess.
  if (precision == Precision::fp32) return 12.0 * columns + 150.0;
  if (!lines) return columns == 64 ? 375 : precision == Precision::tf32 ? 750 : 520;
  if (precision == Precision::tf32) return columns == 64 ? 560 : 590;
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
