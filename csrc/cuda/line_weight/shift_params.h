// SPDX-License-Identifier: BSD-3-Clause
// What shift_kernel.cuh is given.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/line_weight/shift_config.h"
#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda::line_weight {

struct ShiftParams {
  void* weight;
  int64_t weight_stride[5];  // in, out, kd, kh, kw
  float* partial;
  int in_channels, out_channels, output_extent[3];  // d, h, w
  int input_extent[3], line_tiles, width_tiles, boxes;
  int stride[2], dilation_d, padding[3], kernel_h;  // stride of d, h
  bool flat;
  int plane_bytes, line_step;  // flat: bytes from a plane and a line to the next
  int channels, taps_d, rows;  // of a block
  int column_tiles, tap_tiles, jobs, splits, chain;
  int lines, chunks, width;  // of a stage: lines, chunks of a line, and its positions
  int row_bytes, run_bytes, line_bytes;
  int output_lines;  // of a stage: those of each tap of d
  int input_bytes, stage_bytes, stages;
};

// Where a box of input positions is.
struct ShiftBox {
  int w, h, plane, item;

#ifdef __CUDACC__
  __device__ ShiftBox(const ShiftParams& p, int box) {
    int rest = box / p.width_tiles, next = rest / p.line_tiles;
    w = (box - rest * p.width_tiles) * p.width;
    h = (rest - next * p.line_tiles) * p.lines;
    item = next / p.input_extent[0];
    plane = next - item * p.input_extent[0];
  }
#endif
};

// A block's share of the weight.
struct ShiftJob {
  int first_channel, first_tap, first_column;  // out_channel, tap of d, in_channel

#ifdef __CUDACC__
  __device__ ShiftJob(const ShiftParams& p, int columns, int job) {
    const int rows = job / p.column_tiles, tile = rows / p.tap_tiles;
    first_channel = tile * p.channels;
    first_tap = (rows - tile * p.tap_tiles) * p.taps_d;
    first_column = (job - rows * p.column_tiles) * columns;
  }
#endif
};

struct ShiftCall {
  const Description& description;
  const ShiftConfig& config;
  const Operands& operands;
  void* workspace;
  cudaStream_t stream;
};

// Defined in shift_launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run_shifts(const ShiftCall& call);

}  // namespace convt3d::cuda::line_weight
