// SPDX-License-Identifier: BSD-3-Clause
// From a call to the launch of the kernels that march.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/few_channels/call.h"
#include "cuda/few_channels/march_channels_weight_kernel.cuh"
#include "cuda/few_channels/march_kernel.cuh"
#include "cuda/few_channels/march_weight_kernel.cuh"
#include "cuda/few_channels/memory.h"
#include "cuda/few_channels/weight_parts.cuh"

namespace convt3d::cuda::few_channels {

inline MarchSums describe_march(const MarchCall& call) {
  const Problem& problem = call.description.problem;
  const MarchConfig& config = call.config;
  const TensorView &output = call.operands.output, &input = call.operands.input;
  const Extent3 output_extent = problem.output();
  MarchSums p{};
  p.output = output.data;
  p.weight = call.operands.weight.data;
  p.input = input.data;
  p.parts = static_cast<float*>(call.workspace);
  int64_t last = (problem.batch - 1) * output.stride[0];
  last += (problem.out_channels - 1) * output.stride[1];
  bool even = reinterpret_cast<uintptr_t>(input.data) % 4 == 0 && input.stride[4] == 1;
  for (int dim = 0; dim < 5; ++dim) {
    if (dim < 3) p.output_stride[dim] = output.stride[dim];
    p.weight_stride[dim] = call.operands.weight.stride[dim];
    p.input_stride[dim] = input.stride[dim];
    if (dim < 4) even = even && input.stride[dim] % 2 == 0;
  }
  for (int axis = 0; axis < 3; ++axis) {
    p.input_extent[axis] = static_cast<int>(problem.input[axis]);
    p.output_extent[axis] = static_cast<int>(output_extent[axis]);
    p.padding[axis] = static_cast<int>(problem.padding[axis]);
    last += (output_extent[axis] - 1) * output.stride[2 + axis];
  }
  p.output_end = static_cast<const char*>(output.data) + (last + 1) * 2;
  p.pairs = even && problem.input[2] % 2 == 0;
  p.lanes = static_cast<int>(config.lanes);
  p.groups_of_lanes = static_cast<int>(config.groups_of_lanes);
  p.depth = static_cast<int>(config.depth);
  p.plane_bytes = static_cast<int>(config.plane_bytes);
  p.by_lanes = make_divisor(config.lanes);
  p.by_tiles = make_divisor(config.tiles);
  p.by_chunks_d = make_divisor(config.chunks_d);
  p.by_groups = make_divisor(problem.groups);
  p.row_stride = output.stride[3];
  p.column_stride = output.stride[4];
  p.channels = static_cast<int>(problem.in_channels);
  p.positions = static_cast<int>(march_positions(problem));
  p.splits = static_cast<int>(config.splits);
  for (int i = 0; i < 2; ++i) {
    p.by_cells[i] = make_divisor(ceil_div(problem.input[1 + i], kMarchCells));
  }
  return p;
}

// Whether the tensors lie as the kernel wants them: rows of a plane follow each other, or channels
// lie side by side and aligned.
inline bool can_march(const MarchCall& call) {
  const TensorView &output = call.operands.output, &input = call.operands.input;
  const Problem& p = call.description.problem;
  if (!call.config.channels_last) {
    return output.stride[4] == 1 && output.stride[3] == p.output()[2];
  }
  const int64_t element = element_bytes(call.description.precision);
  const int64_t channels = element == 2 ? kMarchChannels : march_weight_channels(element);
  return aligned_channels(output, element, channels / p.in_channels_per_group()) &&
         aligned_channels(input, element, channels);
}

// march_fits() gives float32 one kernel.
template <typename T>
auto march_kernel_of(bool planes, bool weight, bool two) {
  auto kernel = two ? march_channels_weight_kernel<T, 2> : march_channels_weight_kernel<T, 1>;
  if constexpr (sizeof(T) == 2) {
    if (planes && weight) kernel = two ? march_weight_kernel<T, 2> : march_weight_kernel<T, 1>;
    if (planes && !weight) kernel = two ? march_kernel<T, 2> : march_kernel<T, 1>;
    if (!planes && !weight) {
      kernel = two ? march_channels_kernel<T, 2> : march_channels_kernel<T, 1>;
    }
  }
  return kernel;
}

// False where they do not.
template <typename T>
bool run_march(const MarchCall& call) {
  if (!can_march(call)) return false;
  const bool two = call.description.problem.in_channels_per_group() == 2;
  const bool planes = !call.config.channels_last;
  const bool weight = call.description.direction == Direction::grad_weight;
  const auto kernel = march_kernel_of<T>(planes, weight, two);
  if (planes) allow_shared_memory(kernel, "few_channels march attribute");
  const auto blocks = static_cast<unsigned>(call.config.blocks);
  const int threads = !planes && weight ? march_weight_threads(sizeof(T)) : kMarchThreads;
  kernel<<<blocks, threads, static_cast<int>(call.config.shared), call.stream>>>(
      describe_march(call));
  check(cudaGetLastError(), "few_channels march_kernel");
  if (weight) {
    add_parts<T>(call.description.problem, call.operands.weight, call.workspace, call.config.splits,
                 {0, 1, 2}, call.stream);
  }
  return true;
}

}  // namespace convt3d::cuda::few_channels
