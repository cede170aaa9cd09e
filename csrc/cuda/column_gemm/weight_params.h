// SPDX-License-Identifier: BSD-3-Clause
// One call of grad_weight as the kernels see it.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/input_params.h"
#include "cuda/column_gemm/weight_config.h"

namespace convt3d::cuda::column_gemm {

struct WeightParams {
  InputParams box;  // input and grad_output are read, weight is the result
  float* parts;     // [split][in channel][column]
  int channel_warps, position_warps;
  int slice_channels, splits, parked_items;
  int positions;                 // of a box
  uint32_t pitch, input_bytes;   // of the input in shared memory
  unsigned cell_divisor;         // positions of the box on h
  unsigned piece_divisor;        // pieces of a channel's line
  bool input_rows, whole_input;  // layout; 16 bytes at a time
};

}  // namespace convt3d::cuda::column_gemm
