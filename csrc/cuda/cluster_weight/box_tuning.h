// SPDX-License-Identifier: BSD-3-Clause
// Numbers of box_kernel.cuh: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "cuda/cluster_weight/tuning.h"

namespace convt3d::cuda::cluster_weight {

// Two warpgroups of 64 columns each multiply, a warp copies.
inline constexpr int kBoxThreads = kSumThreads + 32;
// in_channels of a block.
inline constexpr int kBoxRows[] = {64, 128, 192};
inline constexpr int kBoxMaxFloatRows = 128;                       // of float32; limit: registers
constexpr int box_blocks(int rows) { return rows == 64 ? 2 : 1; }  // limit: registers
// Of float sums of an in_channel: rows of two lanes' columns are on different banks.
inline constexpr int kBoxSumPitch = 4 * (kColumns + 4);
inline constexpr int kMaxBoxStages = 8, kMaxBoxSplits = 8;
// Barriers of stages, and of the sums; where the positions of a box lie.
inline constexpr int kBoxBarrierBytes = 16 * kMaxBoxStages + 16;
// Limits: offsets in a box's channel have 16 bits, a tensor map's box has 256 elements on an axis.
inline constexpr int64_t kMaxChannelBytes = 65520, kMaxBox = 256;
// Limit: stages. Positions of images that are joined in a box.
inline constexpr int64_t kMostJoined = 512;

// Clusters of 1 to 8 blocks, each on an SM of its own, that are there at the same time. Measured by
// cudaOccupancyMaxActiveClusters.
inline constexpr int kClustersAtOnce[] = {0, 132, 66, 39, 30, 22, 17, 15, 15};

// For the choice, clocks, fitted to what seven layers of 108 to 8192 positions take on an H200
// (cold L2, all ways to cut them): a launch, first loads and a store, and of these an in_channel's;
// 128 bytes of K, of these an in_channel's, and what turning its row takes; a box for which only
// one other is under way; a cluster; blocks that follow on an SM.
inline constexpr double kBoxStartClocks = 11350, kBoxRowClocks = 34;
inline constexpr double kBoxGroupClocks = 600, kBoxWideClocks = 480, kBoxRowGroupClocks = 4;
// float32's three products, and what writing the parts of a row takes is kBoxTurnClocks.
inline constexpr double kBoxPartsClocks = 520, kBoxRowPartsClocks = 10.3;
inline constexpr double kBoxTurnClocks = 6.8, kBoxWaitClocks = 500;
inline constexpr double kBoxClusterClocks = 2300, kBoxEndClocks = 4000;
// The estimate for cp.async says a tenth to a sixth too little for 64 to 1000 positions.
inline constexpr double kBoxAdvantage = 0.85;

}  // namespace convt3d::cuda::cluster_weight
