// SPDX-License-Identifier: BSD-3-Clause
// Gradients of depthwise layers that march through planes. Plain C++: the planner is built
// without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::few_channels {

inline constexpr int kMarchThreads = 128;
// Cells of the result of a thread on w and h.
inline constexpr int kMarchCellsW = 2, kMarchCellsH = 4;
// Planes of grad_output in shared memory: one is read, two are on their way.
inline constexpr int kMarchPlanes = 3;
// Zeros before the planes, that stand for rows outside; and elements beside a plane's that a thread
// reads and masks, with what its first 16 bytes hold before it.
inline constexpr int kMarchZeros = 32, kMarchBeside = 64;
// grad_weight: 27 sums of each of four warps and two in channels.
inline constexpr int kMarchSumBytes = 27 * 4 * 2 * 4;
// NDHWC: cells of a thread on w and on h, its channels, and threads side by side on those.
inline constexpr int kMarchCells = 2, kMarchChannels = 8, kMarchLanes = 16;
// grad_weight there: channels of a thread (8 bytes), threads side by side on channels, and threads
// of a block, the only one on an SM: registers.
constexpr int march_weight_channels(int64_t element) { return element == 2 ? 4 : 2; }
constexpr int march_weight_threads(int64_t element) { return element == 2 ? 256 : 384; }
inline constexpr int kMarchWeightLanes = 32;
// Planes of the result of a block: one of grad_output is read twice for each end.
inline constexpr int64_t kMarchDepth = 8, kMinMarchDepth = 4;
// Blocks on an SM below which the shorter march pays.
inline constexpr int64_t kMarchBlocksPerSm = 6;

struct MarchConfig {
  bool channels_last;
  int64_t channels;         // NDHWC: of a thread
  int64_t lanes;            // threads on w; NDHWC: on channels
  int64_t groups_of_lanes;  // the block's others: on h; NDHWC: on cells of w and h
  int64_t tiles;            // on h; NDHWC: of the channels
  int64_t depth, chunks_d;  // planes of the result of a block, and how many such there are
  int64_t splits;           // grad_weight: blocks of a channel
  int64_t plane_bytes, shared, blocks;
};

// Depthwise with one or two in channels a group, kernel 3 and stride 2 on all axes, 16 bits; NCDHW,
// or NDHWC with channels in eights. grad_weight in NDHWC float32, too.
bool march_fits(const Description& description, const Device& device);
// NDHWC: pairs of cells on w and h, of all images.
int64_t march_positions(const Problem& problem);
MarchConfig choose_march(const Description& description, const Device& device);
int64_t march_workspace_bytes(const Description& description, const Device& device);
std::string to_string(const MarchConfig& config);

}  // namespace convt3d::cuda::few_channels
