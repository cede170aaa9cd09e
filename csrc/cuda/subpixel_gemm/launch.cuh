// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launch; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/subpixel_gemm/call.h"
#include "cuda/subpixel_gemm/input_kernel.cuh"
#include "cuda/subpixel_gemm/kernel.cuh"
#include "cuda/subpixel_gemm/unit_kernel.cuh"
#include "cuda/subpixel_gemm/weight_kernel.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::subpixel_gemm {

inline Params make_params(const Call& call) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  Params p{};
  p.config = call.config;
  p.input = operands.input.data;
  p.weight = operands.weight.data;
  p.output = operands.output.data;
  p.bias = operands.bias;
  p.bias_stride = operands.bias_stride;
  std::copy_n(operands.input.stride.begin(), 5, p.input_stride);
  std::copy_n(operands.weight.stride.begin(), 5, p.weight_stride);
  std::copy_n(operands.output.stride.begin(), 5, p.output_stride);
  p.batch = static_cast<int>(problem.batch);
  p.groups = static_cast<int>(problem.groups);
  p.ins = static_cast<int>(problem.in_channels_per_group());
  p.outs = static_cast<int>(problem.out_channels_per_group());
  p.line_outs = p.outs / p.config.tile_outs;
  const Extent3 output = problem.output();
  for (int axis = 0; axis < 3; ++axis) {
    p.input_extent[axis] = static_cast<int>(problem.input[axis]);
    p.output_extent[axis] = static_cast<int>(output[axis]);
    p.kernel[axis] = static_cast<int>(problem.kernel[axis]);
    p.stride[axis] = static_cast<int>(problem.stride[axis]);
    p.padding[axis] = static_cast<int>(problem.padding[axis]);
  }
  const int64_t channels = int64_t{p.config.tile_groups} * p.config.tile_outs;
  int64_t* const s = p.output_stride;
  if (p.config.dense) s[4] = channels;  // of a line of one element it may be anything
  // Else all that an address is made of must be even.
  const bool even = s[0] % 2 == 0 && s[2] % 2 == 0 && s[3] % 2 == 0 && s[4] % 2 == 0 &&
                    reinterpret_cast<uintptr_t>(p.output) % 4 == 0;
  p.paired = p.config.dense || (s[1] == 1 && channels % 2 == 0 && even);
  p.parts = static_cast<float*>(call.workspace);
  return p;
}

inline void launch(const char* what, void (*kernel)(Params), const Params& p, cudaStream_t stream,
                   int threads = kThreads) {
  allow_shared_memory(kernel, what);
  kernel<<<static_cast<unsigned>(p.config.blocks), threads, static_cast<size_t>(p.config.shared),
           stream>>>(p);
  check(cudaGetLastError(), what);
}

// A thread for each element.
inline void launch_each(void (*kernel)(Params), const Params& p, int64_t elements,
                        cudaStream_t stream) {
  kernel<<<static_cast<unsigned>(ceil_div(elements, kThreads)), kThreads, 0, stream>>>(p);
  check(cudaGetLastError(), "subpixel_gemm");
}

template <Precision kPrecision>
void run(const Call& call) {
  using T = ElementOf<kPrecision>;
  const Problem& problem = call.description.problem;
  Params p = make_params(call);
  switch (call.description.direction) {
    case Direction::forward:
      if (p.config.units) {
        launch_each(pack_units<kPrecision>, p, p.config.parts, call.stream);
        return launch("subpixel_gemm forward by units", unit_kernel<kPrecision>, p, call.stream,
                      kUnitThreads);
      }
      return launch("subpixel_gemm forward", forward_kernel<kPrecision>, p, call.stream);
    case Direction::grad_input:
      p.result = call.operands.input.data;
      launch("subpixel_gemm grad_input", input_kernel<kPrecision>, p, call.stream);
      return launch_each(add_parts<T>, p,
                         problem.batch * problem.in_channels * volume(problem.input), call.stream);
    case Direction::grad_weight:
      p.result = call.operands.weight.data;
      launch("subpixel_gemm grad_weight", weight_kernel<kPrecision>, p, call.stream);
      return launch_each(
          add_splits<T>, p,
          problem.in_channels * problem.out_channels_per_group() * volume(problem.kernel),
          call.stream);
  }
}

}  // namespace convt3d::cuda::subpixel_gemm
