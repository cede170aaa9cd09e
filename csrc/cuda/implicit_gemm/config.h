// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::implicit_gemm {

// A tile's rows: extents over {batch, d, h, w} of one residue's outputs.
using Box = std::array<int, 4>;

struct Config {
  Box box{1, 1, 1, 1};
  int columns = 0;  // of a tile: output channels
  int steps = 0;    // 32-byte steps of input channels that are loaded together
  int chunks = 0;   // of steps * 32 bytes, over all input channels
  int input_stages = 0, weight_stages = 0;
  int weight_group = 0;       // blocks (of one tap and one chunk) in a weight stage
  bool all_residues = false;  // of a tile in one item
  bool parks = false;         // long sums in parts (cuda/sm90/parked_sums.cuh)
  int split_axes = 0;         // grad_input: so many of the last axes have one halo for all residues
};

Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);
// The workspace: the weight in blocks, then the parked sums.
int64_t packed_weight_bytes(const Description& description, const Config& config);

}  // namespace convt3d::cuda::implicit_gemm
