// SPDX-License-Identifier: BSD-3-Clause
// From a call to the launches of gathered_input_kernel and gathered_weight_kernel.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/common/launch.h"
#include "cuda/few_channels/call.h"
#include "cuda/few_channels/gathered_input_kernel.cuh"
#include "cuda/few_channels/gathered_weight_kernel.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::few_channels {

inline GatheredSums describe_gathered(const GatheredCall& call) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const bool weight = call.description.direction == Direction::grad_weight;
  const Extent3 output_extent = problem.output();
  GatheredSums p{};
  p.output = operands.output.data;
  p.other = weight ? operands.input.data : operands.weight.data;
  p.result = weight ? operands.weight.data : operands.input.data;
  p.splits = static_cast<int>(call.config.splits);
  p.parts = p.splits > 1 ? static_cast<float*>(call.workspace) : nullptr;
  for (int dim = 0; dim < 5; ++dim) {
    p.output_bytes[dim] = operands.output.stride[dim] * element_bytes(call.description.precision);
    p.input_stride[dim] = operands.input.stride[dim];
    p.weight_stride[dim] = operands.weight.stride[dim];
  }
  for (int axis = 0; axis < 3; ++axis) {
    p.output_extent[axis] = static_cast<int>(output_extent[axis]);
    p.kernel[axis] = static_cast<int>(problem.kernel[axis]);
    p.scale[axis] = static_cast<int>(problem.stride[axis]);
    p.padding[axis] = static_cast<int>(problem.padding[axis]);
    p.dilation[axis] = static_cast<int>(problem.dilation[axis]);
    p.by_kernel[axis] = make_divisor(problem.kernel[axis]);
    p.by_extent[axis] = make_divisor(problem.input[axis]);
  }
  p.ins = static_cast<int>(problem.in_channels_per_group());
  p.outs = static_cast<int>(problem.out_channels_per_group());
  p.depth = static_cast<int>(p.outs * volume(problem.kernel));
  p.positions = static_cast<int>(problem.batch * volume(problem.input));
  p.channels = static_cast<int>(problem.in_channels);
  p.own_chunks = static_cast<int>(call.config.own_chunks);
  p.by_in_tiles = make_divisor(call.config.in_tiles);
  p.by_groups = make_divisor(problem.groups);
  p.by_splits = make_divisor(p.splits);
  p.by_positions = make_divisor(p.positions);
  return p;
}

template <typename T>
void add_taps(const GatheredCall& call, const GatheredSums& p) {
  const int64_t blocks = ceil_div(int64_t{p.channels} * p.positions, int64_t{kTapResults});
  launch_grid("few_channels add_taps_kernel", add_taps_kernel<T>,
              {static_cast<unsigned>(blocks), kThreads, 0, call.stream, call.device.arch >= 90}, p);
}

template <typename T>
void run_gathered(const GatheredCall& call) {
  const GatheredSums p = describe_gathered(call);
  const auto blocks = static_cast<unsigned>(call.config.blocks);
  const bool narrow = call.config.tile_ins == 16, weight = p.other == call.operands.input.data;
  const auto kernel = weight
                          ? (narrow ? gathered_weight_kernel<T, 1> : gathered_weight_kernel<T, 4>)
                          : (narrow ? gathered_input_kernel<T, 1> : gathered_input_kernel<T, 4>);
  kernel<<<blocks, kTapThreads, 0, call.stream>>>(p);
  check(cudaGetLastError(), "few_channels gathered kernel");
  if (p.parts != nullptr) add_taps<T>(call, p);
}

}  // namespace convt3d::cuda::few_channels
