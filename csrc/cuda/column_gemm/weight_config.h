// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for grad_weight. Plain C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/column_gemm/tuning.h"
#include "plan/description.h"
#include "plan/family.h"

namespace convt3d::cuda::column_gemm {

struct WeightConfig {
  std::array<int, 3> cells;           // positions of the input of a box
  std::array<int, 3> tiles;           // boxes along each axis
  int line_rows;                      // positions of a line, with what fills it up to a step
  int line_width;                     // positions of grad_output that are kept of a line
  int channel_warps, position_warps;  // of a block
  int slices;                         // of the in channels, each with blocks of its own
  int splits;                         // of the boxes
  int parked_items;  // boxes after which sums go to shared memory, which adds with rounding
  bool rows;         // input: a position's channels are contiguous
  int64_t shared;    // bytes; 0: nothing fits
};

// Bytes from a position's channels to the next one's, and from a channel's positions to the next
// one's: eight rows of ldmatrix, or four rows of eight floats, are in different banks.
constexpr int64_t weight_row_pitch(int64_t channels, int64_t element_bytes) {
  const int64_t wanted = element_bytes == 2 ? 16 : 32;
  return (channels * element_bytes + 127 - wanted) / 128 * 128 + wanted;
}
constexpr int64_t weight_plane_pitch(int64_t positions, int64_t element_bytes) {
  return (positions * element_bytes + 111) / 128 * 128 + 16;
}

WeightConfig choose_weight(const Description& description, const Device& device);
Verdict supports_weight(const Description& description, const Device& device);
int64_t weight_workspace_bytes(const Description& description, const Device& device);
std::string to_string(const WeightConfig& config);

}  // namespace convt3d::cuda::column_gemm
