// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call into blocks. Plain C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/common/grad_weight_cuts.h"
#include "plan/description.h"

namespace convt3d::cuda::weight_gemm {

// in_channels that a warp sums.
enum class TileKind { rows32, rows48 };

struct Config {
  TileKind tile;
  int units;                // pairs of a tap and 16 out_channels that a warp sums
  int in_parts;             // warps side by side on in_channels
  int out_parts;            // blocks of 16 out_channels
  std::array<int, 3> taps;  // of a block
  std::array<int, 4> box;   // input positions of a tile: batch, d, h, w
  std::array<int, 3> halo;  // positions of grad_output that they meet
  int line;                 // rows of shared memory for one line of the halo
  int positions, rows;      // rows of a stage; positions is a multiple of 16
  int warps, stages;
  int64_t in_tiles, out_tiles;  // of a group
  std::array<int64_t, 3> tap_groups;
  int64_t jobs;                  // blocks of a split
  std::array<int64_t, 4> tiles;  // boxes on each axis
  int64_t all_tiles, splits;
  int64_t shared_bytes;
};

// False if no cut fits.
bool choose(const Description& description, const Device& device, Config* config);
std::string to_string(const Config& config);

}  // namespace convt3d::cuda::weight_gemm
