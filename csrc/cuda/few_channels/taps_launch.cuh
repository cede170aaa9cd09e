// SPDX-License-Identifier: BSD-3-Clause
// From a call to the launch of taps_kernel.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/few_channels/call.h"
#include "cuda/few_channels/taps_kernel.cuh"

namespace convt3d::cuda::few_channels {

template <typename T, int kCells, int kIns>
void launch_taps(const Call& call) {
  const Problem& problem = call.description.problem;
  const Extent3 output_extent = problem.output();
  TapSums p{};
  p.output = call.operands.output.data;
  p.weight = call.operands.weight.data;
  p.input = call.operands.input.data;
  for (int dim = 0; dim < 5; ++dim) {
    p.output_stride[dim] = call.operands.output.stride[dim];
    p.weight_stride[dim] = call.operands.weight.stride[dim];
    p.input_stride[dim] = call.operands.input.stride[dim];
  }
  for (int axis = 0; axis < 3; ++axis) {
    p.input_extent[axis] = static_cast<int>(problem.input[axis]);
    p.output_extent[axis] = static_cast<int>(output_extent[axis]);
    p.kernel[axis] = static_cast<int>(problem.kernel[axis]);
    p.scale[axis] = static_cast<int>(problem.stride[axis]);
    p.padding[axis] = static_cast<int>(problem.padding[axis]);
    p.dilation[axis] = static_cast<int>(problem.dilation[axis]);
    if (axis < 2) p.by_extent[axis] = make_divisor(problem.input[axis]);
  }
  p.ins = static_cast<int>(problem.in_channels_per_group());
  p.outs = static_cast<int>(problem.out_channels_per_group());
  const int64_t in_blocks = ceil_div(p.ins, kIns), cells_w = ceil_div(problem.input[2], kCells);
  p.by_in_blocks = make_divisor(in_blocks);
  p.by_groups = make_divisor(problem.groups);
  p.by_cells_w = make_divisor(cells_w);
  const int64_t blocks =
      in_blocks * problem.groups * cells_w * problem.input[1] * problem.input[0] * problem.batch;
  taps_kernel<T, kCells, kIns><<<static_cast<unsigned>(blocks), kThreads, 0, call.stream>>>(p);
  check(cudaGetLastError(), "few_channels taps_kernel");
}

// One channel of a group meets eight positions, several meet four.
template <typename T>
void run_long_sums(const Call& call) {
  return call.description.problem.in_channels_per_group() == 1 ? launch_taps<T, 8, 1>(call)
                                                               : launch_taps<T, 4, 4>(call);
}

}  // namespace convt3d::cuda::few_channels
