// SPDX-License-Identifier: BSD-3-Clause
// What the launches of forward have in common.
#pragma once
#include <algorithm>
#include <cstdint>

#include "cuda/column_gemm/box_params.h"
#include "cuda/column_gemm/params.h"
#include "cuda/common/alignment.h"
#include "cuda/common/call.h"

namespace convt3d::cuda::column_gemm {

// A channel of `positions` after another in shared memory.
template <typename Config>
void set_planes(const cuda::Call<Config>& call, int64_t positions, ForwardParams* p) {
  const Precision precision = call.description.precision;
  p->rows = false;
  p->pitch = static_cast<uint32_t>(plane_pitch(positions, element_bytes(precision)));
  p->stage_bytes = p->pitch * static_cast<uint32_t>(p->steps * step_channels(precision));
}

// `positions`: of a box or plane, in shared memory.
template <typename Config>
void fill_forward(const cuda::Call<Config>& call, int64_t positions, ForwardParams* params) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const Config& c = call.config;
  const int64_t size = element_bytes(call.description.precision);
  const Extent3 output = problem.output();
  ForwardParams& p = *params;
  p.input = operands.input.data;
  p.weight = operands.weight.data;
  p.bias = operands.bias;
  p.output = operands.output.data;
  p.bias_stride = operands.bias_stride;
  fill_problem(call, &p);
  for (int axis = 0; axis < 2; ++axis) {
    p.shifts[axis] = shifts(p.kernel[axis], p.stride[axis]);
    p.first_cell[axis] = p.padding[axis] / p.stride[axis];
  }
  // - floor((kernel - 1 - padding) / stride)
  const int last = p.kernel[2] - 1 - p.padding[2];
  p.least_shift_w = last >= 0 ? -(last / p.stride[2]) : (p.stride[2] - 1 - last) / p.stride[2];
  p.line_rows = c.line_rows;
  p.all_cells_w = (p.output_extent[2] + p.stride[2] - 1) / p.stride[2];
  p.column_tiles = c.column_tiles;
  p.steps = c.steps;
  p.chunks = c.chunks;
  p.stages = c.stages;
  p.channels_last = call.description.output == Layout::ndhwc;
  p.rows = c.rows && rows_aligned(operands.input, problem.batch, problem.input, size);
  p.pitch = static_cast<uint32_t>(row_pitch(p.steps));
  p.stage_bytes = static_cast<uint32_t>(p.pitch * positions);
  if (!p.rows) set_planes(call, positions, &p);
  p.whole_loads = p.rows || lines_aligned(operands.input, problem, size);
  p.row_divisor = reciprocal(p.line_rows);
  // A cell's outputs: those of its out channels too in NDHWC, where instances hold 1 or 2.
  const int64_t outs = p.channels_last ? problem.out_channels : 1;
  const int64_t bytes = outs * problem.stride[2] * size;
  const int64_t line_bytes = output[2] * outs * size, unit = std::min<int64_t>(bytes, 16);
  p.whole_stores = (outs & (outs - 1)) == 0 && line_bytes % unit == 0 && is_aligned(p.output);
}

}  // namespace convt3d::cuda::column_gemm
