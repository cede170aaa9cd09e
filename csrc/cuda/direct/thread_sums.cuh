// SPDX-License-Identifier: BSD-3-Clause
// A call in the numbers of outputs_kernel and taps_weight_kernel.
#pragma once
#include <algorithm>

#include "cuda/direct/call.h"
#include "cuda/direct/outputs_kernel.cuh"
#include "cuda/direct/taps_weight_kernel.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::direct {

inline OutputsSum outputs_sum(const Call& call) {
  const Problem& p = call.description.problem;
  const Operands& operands = call.operands;
  OutputsSum sum{};
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
  sum.input = operands.input.data;
  sum.output = operands.output.data;
  sum.weight = operands.weight.data;
  std::copy(operands.input.stride.begin(), operands.input.stride.end(), sum.input_stride);
  std::copy(operands.output.stride.begin(), operands.output.stride.end(), sum.output_stride);
  std::copy(operands.weight.stride.begin(), operands.weight.stride.end(), sum.weight_stride);
  const Extent3 extent = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    sum.input_extent[axis] = static_cast<int>(p.input[axis]);
    sum.output_extent[axis] = static_cast<int>(extent[axis]);
    sum.kernel[axis] = static_cast<int>(p.kernel[axis]);
    sum.scale[axis] = static_cast<int>(p.stride[axis]);
    sum.padding[axis] = static_cast<int>(p.padding[axis]);
    sum.dilation[axis] = static_cast<int>(p.dilation[axis]);
  }
  sum.positions = static_cast<int>(p.batch * volume(p.input));
  sum.ins = static_cast<int>(p.in_channels_per_group());
  sum.outs = static_cast<int>(p.out_channels_per_group());
  sum.in_tiles = static_cast<int>(ceil_div(sum.ins, kTapsIns));
  sum.tap_blocks = static_cast<int>(ceil_div(volume(p.kernel), kTapsThreads));
  return sum;
}

}  // namespace convt3d::cuda::direct
