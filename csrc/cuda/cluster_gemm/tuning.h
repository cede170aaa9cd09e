// SPDX-License-Identifier: BSD-3-Clause
// Numbers of cluster_gemm, each with where it comes from.
#pragma once
#include <cstdint>

namespace convt3d::cuda::cluster_gemm {

inline constexpr int kArch = 90;
// Limit: a kernel's parameters (4 KB) hold a tensor map of each.
inline constexpr int kMaxParts = 8;
// Warps that multiply: two warpgroups, each with half of a tile's rows. One lane of a third loads.
inline constexpr int kSumWarps = 8, kThreads = (kSumWarps + 4) * 32;
// Limit: 64 K registers of an SM, of which the launch gives 168 a thread.
inline constexpr int kSumRegisters = 216, kLoadRegisters = 72;
inline constexpr int kChunkBytes = 128;  // of K in a stage: the widest swizzle
inline constexpr int kStepsOfChunk = 4;  // of 32 bytes, an instruction's
inline constexpr int kMaxStages = 8;
// What follows a chain of sums is summed apart: so many chunks and columns at once.
inline constexpr int kApartUnits = 2, kApartColumns = 64;
inline constexpr int kBarrierBytes = 16 * kMaxStages;
inline constexpr int64_t kPackAlign = 256;  // of packed tensors; TMA wants 16
// Limit: blocks of a cluster that every GPU of the architecture runs; and as many warps take
// shares of the sums.
inline constexpr int kMaxSplits = 8;
// Limits of 32-bit offsets and coordinates.
inline constexpr int64_t kMaxElements = int64_t{1} << 31, kMaxExtent = int64_t{1} << 20;

// Tiles that are built.
struct TileShape {
  int rows, columns;
};
inline constexpr TileShape kTiles[] = {{128, 128}, {128, 256}, {256, 128}, {256, 64}};

inline constexpr int64_t kMinChannels = 64;
// Measured: half a tile of padding, 64 -> 64 k3 on 32^3 and 128 -> 64 k3 s2 on 2 x 12^3, made
// others faster (34 us instead of 31, 37 instead of 32); on 4^3 it did not. In tiles of 64 columns
// these two take 26 instead of 31, and 15 instead of 29.
inline constexpr int64_t kMinColumns = 96, kNarrowPositions = 1024, kNarrowTile = 64;
// Rounds of equal items that are dealt out one by one.
inline constexpr int64_t kMostSpread = 2;

// Clocks, 1750 a microsecond, measured on an H200: 384 -> 64 k3 s2 on 4 x 6^3, 512 -> 256 k3 s2 on
// 14 x 14 x 9, 256 -> 128 k3 s2 on 28 x 28 x 18, with all tiles and splits.
inline constexpr double kL2BytesPerClock = 41;  // that arrive at an SM while all load
inline constexpr double kProductClocks = 1.07;  // of one of an instruction's
inline constexpr double kStartClocks = 8000;    // of the launch
inline constexpr double kBlockClocks = 4000;    // up to a block's first product
inline constexpr double kStoreClocks = 25;      // of a thread's sum
inline constexpr double kJoinClocks = 20, kJoinSplitClocks = 10;  // of a sum, and each split
// What the products behind a chain cost more: A is read for each slice of columns. Estimated.
inline constexpr double kApartMore = 0.5;
inline constexpr double kPackClocks = 3500, kPackBytesPerClock = 1050;
// Stored every other element: the L2 cache puts the halves together of what it holds. Measured:
// 14 MB in 9 us (512 -> 256, TF32), 29 MB in 44 (256 -> 128, bf16).
inline constexpr double kStrideBytesPerClock = 450, kCachedStrideBytesPerClock = 700;
inline constexpr double kCachedBytes = 20e6;
// Of 16 clusters of 8 blocks not all run at once on 132 SMs, of 28 of 4 do; in percent.
inline constexpr int64_t kWholeClusters = 90;

// What halo_gemm and implicit_gemm take: `start` clocks, so many for 1e9 products (in channels x
// out channels x taps x input positions), for 1e6 bytes of the weight, and, where positions are
// lines, for all, and for 1e6 bytes of the weight and the tensor that is read. `margin`: what the
// estimate of this family counts beside theirs, the least regret over 249 shapes of 64 to 512
// channels and 4^3 to 32^3 positions in both layouts (H200, 2026-11-22; 3.0, 3.1, 1.5 and 2.0 % of
// the time of the faster one with 1.05 in all, now 1.4, 2.2, 1.5 and 1.7).
struct Others {
  double start, products, weight_megabyte, lines, line_megabyte, margin;
};
inline constexpr Others kNarrowGradInput = {35000, 5400, 600, 24000, 520, 1.05};
inline constexpr Others kTf32GradInput = {40000, 9800, 600, 24000, 520, 1.0};
inline constexpr Others kNarrowForward = {30000, 6100, 1400, 9000, 2000, 0.85};
inline constexpr Others kTf32Forward = {34000, 11500, 1400, 7000, 1600, 0.95};
// Measured: 128 -> 64 k3 s2 on 40 x 80 x 80 (57e9 products), 512 -> 512 k3 on 5 x 60 x 90, and
// 512 -> 256 k4 s2 on 100 x 4^3 are as fast there, or faster.
inline constexpr double kMostProducts = 20;

}  // namespace convt3d::cuda::cluster_gemm
