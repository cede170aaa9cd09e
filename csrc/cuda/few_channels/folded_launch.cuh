// SPDX-License-Identifier: BSD-3-Clause
// From a call to the launch of folded_kernel.
#pragma once
#include <algorithm>

#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/few_channels/folded_call.h"
#include "cuda/few_channels/folded_kernel.cuh"

namespace convt3d::cuda::few_channels {

template <typename T>
void run_folded(const FoldedCall& call) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const FoldedConfig& config = call.config;
  const Extent3 output = problem.output();
  FoldedSum p{};
  static_cast<Axes&>(p) = make_axes(problem);
  p.input = operands.input.data;
  p.weight = operands.weight.data;
  p.bias = operands.bias;
  p.output = operands.output.data;
  p.bias_stride = operands.bias_stride;
  std::copy_n(operands.input.stride.begin(), 5, p.input_stride);
  std::copy_n(operands.weight.stride.begin(), 5, p.weight_stride);
  std::copy_n(operands.output.stride.begin(), 5, p.output_stride);
  for (int axis = 0; axis < 3; ++axis) {
    p.whole[axis] = p.kernel[axis] / p.stride[axis];
    p.rest[axis] = p.kernel[axis] % p.stride[axis];
    p.by_stride[axis] = make_divisor(problem.stride[axis]);
    p.by_extent[axis] = make_divisor(problem.input[axis]);
    if (axis == 2) continue;
    p.by_cells[axis] = make_divisor(ceil_div(output[axis], problem.stride[axis]));
  }
  p.ins = static_cast<int>(problem.in_channels_per_group());
  p.outs = static_cast<int>(problem.out_channels_per_group());
  p.positions = static_cast<int>(problem.batch * volume(problem.input));
  p.rows = static_cast<int>(config.rows);
  p.lines = static_cast<int>(config.lines);
  p.pairs = p.stride[0] * p.stride[1];
  p.blocks = static_cast<int>(config.blocks);
  p.tap_rows = static_cast<int>(config.tap_rows);
  p.pitch = static_cast<int>(config.pitch);
  p.columns = static_cast<int>(config.columns);
  p.channels_last = p.input_stride[1] == 1;
  p.by_blocks = make_divisor(config.blocks);
  p.by_outs = make_divisor(p.outs);
  p.by_kernel = make_divisor(problem.kernel[2]);
  p.by_words = make_divisor((config.pitch - 16) / 4);
  allow_shared_memory(folded_kernel<T>, "few_channels folded shared memory");
  launch_grid("few_channels folded_kernel", folded_kernel<T>,
              {static_cast<unsigned>(problem.out_channels * config.blocks), kFoldedThreads,
               static_cast<int>(config.shared), call.stream},
              p);
}

}  // namespace convt3d::cuda::few_channels
