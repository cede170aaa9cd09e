// SPDX-License-Identifier: BSD-3-Clause
// Elements of grad_output by plain loads (pick_kernel.cuh): pointwise layers with a stride, and two
// taps along w that are neighbours. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "geometry/ceil_div.h"
#include "plan/description.h"

namespace convt3d::cuda::line_weight {

// A warpgroup.
inline constexpr int kPickThreads = 128;
// Blocks on an SM, of so many loads of a lane. Limit: registers, and shared memory.
constexpr int pick_blocks(int loads) { return loads == 8 ? 5 : 4; }
// Of a block: in_channels, and at most as many rows (line of grad_output, tap along w).
inline constexpr int kPickChannels = 64;
// Of a tile: bytes of positions.
inline constexpr int kPickRow = 128;
inline constexpr int kPickTileBytes = kPickChannels * kPickRow;
// Tiles of input under way; of grad_output one is in registers, and two in shared memory.
inline constexpr int kPickStages = 3;
inline constexpr int kPickShared = (kPickStages + 2) * kPickTileBytes;

struct PickConfig {
  int taps;   // along w
  int loads;  // of a lane, lines of grad_output: a warp's
  int64_t lines, image_tiles, tiles, in_tiles, line_tiles, jobs, splits;
};

// splits = 0: it does not fit, or others are faster.
PickConfig choose_picks(const Description& description, const Device& device);
constexpr int pick_lines(int loads) { return loads * (kPickThreads / 32); }
inline int64_t pick_partial_bytes(const PickConfig& c) {
  return c.jobs * c.splits * pick_lines(c.loads) * c.taps * kPickChannels * int64_t{sizeof(float)};
}
std::string to_string(const PickConfig& config);

}  // namespace convt3d::cuda::line_weight
