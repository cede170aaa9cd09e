// SPDX-License-Identifier: BSD-3-Clause
// A call in the numbers of outputs_kernel, resident_kernel and taps_weight_kernel.
#pragma once
#include <algorithm>

#include "cuda/common/resident.h"
#include "cuda/direct/call.h"
#include "cuda/direct/outputs_kernel.cuh"
#include "cuda/direct/resident_kernel.cuh"
#include "cuda/direct/taps_weight_kernel.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::direct {

// What both kernels of forward have.
template <typename Sum>
Sum forward_sum(const Call& call) {
  const Problem& p = call.description.problem;
  const Operands& operands = call.operands;
  Sum sum{};
  sum.source = operands.input.data;
  sum.weight = operands.weight.data;
  sum.bias = operands.bias;
  sum.bias_stride = operands.bias_stride;
  sum.result = operands.output.data;
  std::copy(operands.input.stride.begin(), operands.input.stride.end(), sum.source_stride);
  std::copy(operands.weight.stride.begin(), operands.weight.stride.end(), sum.weight_stride);
  std::copy(operands.output.stride.begin(), operands.output.stride.end(), sum.result_stride);
  const Extent3 extent = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    sum.source_extent[axis] = static_cast<int>(p.input[axis]);
    sum.result_extent[axis] = static_cast<int>(extent[axis]);
    sum.kernel[axis] = static_cast<int>(p.kernel[axis]);
    sum.scale[axis] = static_cast<int>(p.stride[axis]);
    sum.padding[axis] = static_cast<int>(p.padding[axis]);
  }
  sum.batch = static_cast<int>(p.batch);
  sum.ins = static_cast<int>(p.in_channels_per_group());
  sum.outs = static_cast<int>(p.out_channels_per_group());
  sum.channels = static_cast<int>(p.out_channels);
  return sum;
}

inline ResidentSum resident_sum(const Call& call) {
  const Problem& p = call.description.problem;
  const ResidentSize size(p);
  auto sum = forward_sum<ResidentSum>(call);
  sum.lines = call.config.tile_n;
  sum.chunks = static_cast<int>(ceil_div(p.stride[1], sum.lines));
  const Extent3 extent = p.output();
  for (int axis = 0; axis < 2; ++axis) {
    sum.cells[axis] = static_cast<int>(ceil_div(extent[axis], p.stride[axis]));
  }
  sum.taps_h = static_cast<int>(ceil_div(p.kernel[1], p.stride[1]));
  sum.rows = static_cast<int>(size.rows);
  sum.source_rows = static_cast<int>(p.batch * p.input[0] * p.input[1]);
  sum.width = static_cast<int>(size.width);
  sum.pitch = static_cast<int>(size.pitch);
  sum.plane = static_cast<int>(size.plane);
  return sum;
}

inline OutputsSum outputs_sum(const Call& call) {
  const Problem& p = call.description.problem;
  const Operands& operands = call.operands;
  const Extent3 extent = p.output();
  auto sum = forward_sum<OutputsSum>(call);
  const int64_t step = ceil_div(extent[2], kOutputsW * p.stride[2]) * p.stride[2];
  sum.step = static_cast<int>(step);
  sum.steps = static_cast<int>(std::min(step, extent[2]));
  sum.channels_innermost = operands.output.stride[1] < operands.output.stride[4];
  sum.threads = static_cast<uint32_t>(ceil_div(p.batch, kOutputsN) * p.out_channels * extent[0] *
                                      extent[1] * sum.steps);
  return sum;
}

inline TapsWeight taps_weight(const Call& call) {
  const Problem& p = call.description.problem;
  const Operands& operands = call.operands;
  TapsWeight sum{};
  sum.output = operands.output.data;
  sum.weight = operands.weight.data;
  std::copy(operands.input.stride.begin(), operands.input.stride.end(), sum.input_stride);
  std::copy(operands.output.stride.begin(), operands.output.stride.end(), sum.output_stride);
  std::copy(operands.weight.stride.begin(), operands.weight.stride.end(), sum.weight_stride);
  const Extent3 extent = p.output();
  const auto* input = static_cast<const char*>(operands.input.data);
  int64_t positions = p.batch;
  for (int axis = 0; axis < 3; ++axis) {
    // Positions that no tap brings into grad_output are left out.
    const int64_t s = p.stride[axis], reach = p.dilation[axis] * (p.kernel[axis] - 1);
    const int64_t first = ceil_div(std::max<int64_t>(0, p.padding[axis] - reach), s);
    const int64_t end = std::min(p.input[axis], (extent[axis] - 1 + p.padding[axis]) / s + 1);
    const int64_t count = std::max<int64_t>(0, end - first);
    positions *= count;
    input += first * sum.input_stride[2 + axis] * element_bytes(call.description.precision);
    sum.input_extent[axis] = static_cast<int>(count);
    sum.output_extent[axis] = static_cast<int>(extent[axis]);
    sum.kernel[axis] = static_cast<int>(p.kernel[axis]);
    sum.scale[axis] = static_cast<int>(p.stride[axis]);
    sum.padding[axis] = static_cast<int>(p.padding[axis] - first * s);
    sum.dilation[axis] = static_cast<int>(p.dilation[axis]);
  }
  sum.input = input;
  sum.positions = static_cast<int>(positions);
  sum.ins = static_cast<int>(p.in_channels_per_group());
  sum.outs = static_cast<int>(p.out_channels_per_group());
  sum.in_tiles = static_cast<int>(ceil_div(sum.ins, call.config.tile_n));
  return sum;
}

}  // namespace convt3d::cuda::direct
