// SPDX-License-Identifier: BSD-3-Clause
// From a call of grad_weight to its one or two launches; instances/ has one explicit instantiation
// per element type.
#pragma once
#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/few_channels/call.h"
#include "cuda/few_channels/memory.h"
#include "cuda/few_channels/weight_config.h"
#include "cuda/few_channels/weight_kernel.cuh"
#include "cuda/few_channels/weight_parts.cuh"

namespace convt3d::cuda::few_channels {

// The taps of each job on the run axis, class by class.
inline void fill_run_jobs(const WeightConfig& config, int64_t kernel, WeightSums* p) {
  int jobs = 0;
  const int step = config.shares_rows ? config.tap_step : static_cast<int>(kernel);
  for (int kind = 0; kind < std::min<int64_t>(kernel, step); ++kind) {
    for (int tap = kind; tap < kernel; tap += 2 * step) {
      p->first_tap[jobs] = static_cast<unsigned char>(tap);
      p->num_taps[jobs] = tap + step < kernel ? 2 : 1;
      ++jobs;
    }
  }
}

inline WeightSums describe_weight(const WeightCall& call) {
  const Problem& problem = call.description.problem;
  const WeightConfig& config = call.config;
  const TensorView &input = call.operands.input, &output = call.operands.output;
  const int64_t element = element_bytes(call.description.precision);
  const Extent3 output_extent = problem.output();
  const int axes[3] = {1 - config.run_axis, config.run_axis, 2};
  WeightSums p{};
  p.input = input.data;
  p.output = output.data;
  p.parts = static_cast<float*>(call.workspace);
  p.result = call.operands.weight.data;
  for (int dim = 0; dim < 2; ++dim) {
    p.input_bytes[dim] = input.stride[dim] * element;
    p.output_bytes[dim] = output.stride[dim] * element;
  }
  for (int dim = 0; dim < 2; ++dim) p.result_stride[dim] = call.operands.weight.stride[dim];
  for (int i = 0; i < 3; ++i) {
    const int axis = axes[i];
    p.result_stride[2 + i] = call.operands.weight.stride[2 + axis];
    p.input_bytes[2 + i] = input.stride[2 + axis] * element;
    p.output_bytes[2 + i] = output.stride[2 + axis] * element;
    p.input_extent[i] = static_cast<int>(problem.input[axis]);
    p.output_extent[i] = static_cast<int>(output_extent[axis]);
    p.kernel[i] = static_cast<int>(problem.kernel[axis]);
    p.scale[i] = static_cast<int>(problem.stride[axis]);
    p.padding[i] = static_cast<int>(problem.padding[axis]);
    p.dilation[i] = static_cast<int>(problem.dilation[axis]);
    p.by_positions[i] =
        make_divisor(i == 1 ? ceil_div(problem.input[axis], config.cells) : problem.input[axis]);
  }
  // A row of one element may have any stride; the kernel steps by whole elements there.
  if (p.output_extent[2] == 1) p.output_bytes[4] = element;
  p.row_bytes = p.scale[1] * p.output_bytes[3];
  p.groups = static_cast<int>(problem.groups);
  p.ins = static_cast<int>(problem.in_channels_per_group());
  p.outs = static_cast<int>(problem.out_channels_per_group());
  p.weights = problem.in_channels * p.outs * volume(problem.kernel);
  p.pairs = static_cast<int>(config.pairs);
  p.tap_step = config.tap_step;
  p.lanes = config.lanes;
  p.positions = static_cast<int>(config.positions);
  p.steps = static_cast<int>(config.steps);
  p.splits = static_cast<int>(config.splits);
  p.by_run_jobs = make_divisor(config.run_jobs);
  p.by_w_jobs = make_divisor(config.w_jobs);
  p.by_tap_jobs = make_divisor(config.tap_jobs);
  p.by_in_blocks = make_divisor(config.in_blocks);
  p.by_out_blocks = make_divisor(config.out_blocks);
  p.by_lanes = make_divisor(config.lanes);
  fill_run_jobs(config, p.kernel[1], &p);
  // Whole blocks of channels only: nothing beside a group's channels is read.
  const bool depthwise = config.mapping == Mapping::depthwise;
  p.long_inputs = (depthwise ? p.groups : p.ins) % config.ins == 0 &&
                  aligned_channels(input, element, config.ins);
  p.long_outputs = (depthwise ? p.groups : p.outs) % config.outs == 0 &&
                   aligned_channels(output, element, config.outs);
  return p;
}

template <typename I>
void launch_weight(const WeightCall& call) {
  static_assert(I::kCells <= kMaxWeightCells);
  WeightSums p = describe_weight(call);
  const auto blocks = static_cast<unsigned>(call.config.blocks * call.config.splits);
  weight_sums_kernel<I><<<blocks, kThreads, 0, call.stream>>>(p);
  check(cudaGetLastError(), "few_channels weight_sums_kernel");

  if (call.config.splits == 1) return;
  const int run = call.config.run_axis;
  add_parts<typename I::T>(call.description.problem, call.operands.weight, call.workspace,
                           call.config.splits, {1 - run, run, 2}, call.stream);
}

template <typename T, Mapping kMapping, int kIns, int kOuts>
void run_weight_taps(const WeightCall& call) {
  return call.config.taps_w == 3 ? launch_weight<WeightInstance<T, kMapping, 3, kIns, kOuts>>(call)
                                 : launch_weight<WeightInstance<T, kMapping, 4, kIns, kOuts>>(call);
}

template <typename T>
void run_weight(const WeightCall& call) {
  const int ins = call.config.ins, outs = call.config.outs;
  switch (call.config.mapping) {
    case Mapping::planes:
      if (ins == 1) return run_weight_taps<T, Mapping::planes, 1, 1>(call);
      if (ins == 2) return run_weight_taps<T, Mapping::planes, 2, 1>(call);
      if (ins == 4) return run_weight_taps<T, Mapping::planes, 4, 1>(call);
      return run_weight_taps<T, Mapping::planes, 8, 1>(call);
    case Mapping::depthwise:
      return run_weight_taps<T, Mapping::depthwise, 4, 4>(call);
    default:
      if (ins == 1) return run_weight_taps<T, Mapping::channels, 1, 4>(call);
      if (ins == 4) return run_weight_taps<T, Mapping::channels, 4, 1>(call);
      if (outs == 4) return run_weight_taps<T, Mapping::channels, 2, 4>(call);
      return run_weight_taps<T, Mapping::channels, 2, 1>(call);
  }
}

}  // namespace convt3d::cuda::few_channels
