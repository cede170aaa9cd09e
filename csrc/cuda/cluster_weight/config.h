// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call into blocks. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::cluster_weight {

// How both tensors lie.
enum class Source {
  channels,  // rows of channels
  lines_2,   // lines of positions; grad_output's hold 2 or 4 taps of each position side by side
  lines_4,
};

// The product that a call is.
struct Shape {
  Source source;
  bool flat;  // one input position: the taps are channels of grad_output
  int64_t in_channels, columns, positions;  // M, N, K
};

// Positions of a stage. Fewer leave the loading warps waiting for their own addresses; of lines
// with 4 taps 64 have more elements than there are loading threads.
constexpr int chunk_of(Precision precision, Source source) {
  const bool narrow = precision == Precision::fp16 || precision == Precision::bf16;
  return narrow && source != Source::lines_4 ? 64 : 32;
}

struct Config {
  Shape shape;
  int rows;  // in_channels of a block
  int splits;
  int64_t split_positions;
  int64_t tiles;  // blocks of a split
  double clocks;
};

// False, and why, where it is no such product.
bool make_shape(const Description& description, Shape* shape, const char** why);
Config choose(const Description& description, const Device& device, const Shape& shape);
std::string to_string(const Config& config);

}  // namespace convt3d::cuda::cluster_weight
