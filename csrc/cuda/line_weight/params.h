// SPDX-License-Identifier: BSD-3-Clause
// What the kernels are told: one call in numbers.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::line_weight {

// One of the two tensors that are read.
struct Source {
  const unsigned short* data;
  int64_t batch_stride;
  int stride[3];  // c, d, h
  int extent[3];  // d, h, w
  int piece;      // elements of a copy
  int pieces;     // of a line of the box
  int span[3];    // positions from a tile's first to behind its last
};

struct Result {
  void* data;
  int64_t stride[5];  // in, out, kd, kh, kw
  bool whole;         // the taps of a line can be stored at once
};

struct Params {
  Source input, output;
  Result result;
  float* partial;
  int in_channels, lines;  // lines: out_channels * kd * kh
  int kernel[2], dilation[2], stride[3];
  int first[3];  // positions of grad_output before that of the first input and tap: padding
  int box[3], tiles[4], all_tiles;
  int input_pitch, output_pitch, row_bytes, lead;
  int row_pieces, column_pieces;  // copies of a row, and of a column
  int column_tiles, jobs, splits, chain;
  bool clustered;
  int stages, stage_bytes;
  bool has_holes;  // positions of a stage that no copy writes
};

struct Launch {
  Params params;
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run(const Launch& launch, int tile);

}  // namespace convt3d::cuda::line_weight
