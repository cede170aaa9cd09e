// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for grad_input. Plain C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/column_gemm/tuning.h"
#include "plan/description.h"
#include "plan/family.h"

namespace convt3d::cuda::column_gemm {

struct InputConfig {
  std::array<int, 3> cells;  // positions of the input of a box
  std::array<int, 3> tiles;  // boxes along each axis
  int line_rows;             // positions of a line, with what fills it up to a multiple of four
  int line_width;            // positions of grad_output that are kept of a line
  int steps;                 // of the product: 32 bytes of columns each
  int chunks;                // of 32 in channels
  int blocks_per_sm;
  int64_t shared;  // bytes; 0: nothing fits
};

InputConfig choose_input(const Description& description, const Device& device);
Verdict supports_input(const Description& description, const Device& device);
std::string to_string(const InputConfig& config);

}  // namespace convt3d::cuda::column_gemm
