// SPDX-License-Identifier: BSD-3-Clause
// What the launches have in common.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/input_params.h"
#include "cuda/common/alignment.h"
#include "cuda/common/call.h"

namespace convt3d::cuda::column_gemm {

// Whether every line of positions starts on 16 bytes.
inline bool lines_aligned(const TensorView& view, const Problem& p, int64_t element_bytes) {
  if (view.stride[4] != 1 || !is_aligned(view.data)) return false;
  if (p.input[2] * element_bytes % 16 != 0) return false;
  const int64_t extents[4] = {p.batch, p.in_channels, p.input[0], p.input[1]};
  for (int dim = 0; dim < 4; ++dim) {
    if (extents[dim] > 1 && view.stride[dim] * element_bytes % 16 != 0) return false;
  }
  return true;
}

inline unsigned reciprocal(int value) {
  return value == 1 ? 0 : static_cast<unsigned>((uint64_t{1} << 32) / value + 1);
}

// Whether every line of grad_output starts on 16 bytes, as one run of elements.
inline bool output_lines_aligned(const TensorView& view, const Problem& p, bool rows,
                                 int64_t element_bytes) {
  const Extent3 output = p.output();
  const int64_t outs = rows ? p.out_channels : 1;
  if (!is_aligned(view.data)) return false;
  if (view.stride[4] != outs || (rows && p.out_channels > 1 && view.stride[1] != 1)) return false;
  if (output[2] * outs * element_bytes % 16 != 0) return false;
  const int64_t extents[4] = {p.batch, rows ? 1 : p.out_channels, output[0], output[1]};
  for (int dim = 0; dim < 4; ++dim) {
    if (extents[dim] > 1 && view.stride[dim] * element_bytes % 16 != 0) return false;
  }
  return true;
}

// Strides, extents and boxes, which the parameters of all kernels have by these names.
template <typename Config, typename Params>
void fill_problem(const cuda::Call<Config>& call, Params* params) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const Config& c = call.config;
  const Extent3 output = problem.output();
  Params& p = *params;
  for (int dim = 0; dim < 5; ++dim) {
    p.input_stride[dim] = operands.input.stride[dim];
    p.weight_stride[dim] = operands.weight.stride[dim];
    p.output_stride[dim] = operands.output.stride[dim];
  }
  p.in_channels = static_cast<int>(problem.in_channels);
  p.out_channels = static_cast<int>(problem.out_channels);
  for (int axis = 0; axis < 3; ++axis) {
    p.input_extent[axis] = static_cast<int>(problem.input[axis]);
    p.output_extent[axis] = static_cast<int>(output[axis]);
    p.kernel[axis] = static_cast<int>(problem.kernel[axis]);
    p.stride[axis] = static_cast<int>(problem.stride[axis]);
    p.padding[axis] = static_cast<int>(problem.padding[axis]);
    p.cells[axis] = c.cells[axis];
    p.tiles[axis] = c.tiles[axis];
  }
  p.items = static_cast<int>(problem.batch) * c.tiles[0] * c.tiles[1] * c.tiles[2];
}

// What grad_input and grad_weight have in common: the boxes of both tensors. Of `config` the cells,
// tiles, line_rows and line_width.
template <typename Config>
InputParams make_box_params(const cuda::Call<Config>& call) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const Config& c = call.config;
  const int64_t size = element_bytes(call.description.precision);
  InputParams p{};
  p.output = operands.output.data;
  p.weight = operands.weight.data;
  p.input = operands.input.data;
  fill_problem(call, &p);
  for (int axis = 0; axis < 2; ++axis) {
    p.box_lines[axis] = (p.cells[axis] - 1) * p.stride[axis] + p.kernel[axis];
  }
  p.line_rows = c.line_rows;
  p.line_width = c.line_width;
  p.rows = call.description.output == Layout::ndhwc;
  p.lines = p.box_lines[0] * p.box_lines[1] * (p.rows ? 1 : p.out_channels);
  p.line_elements = p.line_width * (p.rows ? p.out_channels : 1);
  p.first_slack = (8 - p.padding[2] % 8) % 8;
  p.columns = p.kernel[0] * p.kernel[1] * p.kernel[2] * p.out_channels;
  const int bytes = static_cast<int>(size);
  p.step_w = bytes * (p.rows ? p.out_channels : 1);
  p.step_h = bytes * p.line_elements;
  p.step_d = p.step_h * p.box_lines[1];
  p.step_channel = p.rows ? bytes : p.step_d * p.box_lines[0];
  p.stage_bytes = static_cast<uint32_t>(p.lines * p.step_h);
  p.channel_divisor = reciprocal(p.box_lines[0] * p.box_lines[1]);
  p.line_divisor = reciprocal(p.box_lines[1]);
  p.whole_loads = output_lines_aligned(operands.output, problem, p.rows, size);
  return p;
}

}  // namespace convt3d::cuda::column_gemm
