// SPDX-License-Identifier: BSD-3-Clause
// The second launch of grad_weight: from the parts of all splits to the result.
#pragma once
#include <array>
#include <cstdint>

#include "cuda/common/cuda_check.h"
#include "cuda/common/element.cuh"
#include "cuda/few_channels/memory.h"
#include "cuda/few_channels/problem.cuh"

namespace convt3d::cuda::few_channels {

struct WeightParts {
  const float* parts;  // [split][in_channels][out_channels / groups][three axes of the kernel]
  int64_t weights;     // of one split
  int64_t stride[5];   // of the result, in the order of the parts
  int splits;
  Divisor by_kernel[3], by_outs;
};

// Adds the parts in their order; one thread for each weight.
template <typename T>
__global__ __launch_bounds__(kThreads) void add_parts_kernel(const __grid_constant__ WeightParts p,
                                                             T* weight) {
  const int64_t at = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (at >= p.weights) return;
  double total = 0;  // leaves one rounding
#pragma unroll 8
  for (int split = 0; split < p.splits; ++split) total += p.parts[split * p.weights + at];
  int rest = static_cast<int>(at);
  const int w = divide(&rest, p.by_kernel[2]), h = divide(&rest, p.by_kernel[1]);
  const int d = divide(&rest, p.by_kernel[0]), out = divide(&rest, p.by_outs);
  weight[rest * p.stride[0] + out * p.stride[1] + d * p.stride[2] + h * p.stride[3] +
         w * p.stride[4]] = narrow<T>(static_cast<float>(total));
}

// `axes`: the order of the kernel's axes in the parts.
template <typename T>
void add_parts(const Problem& problem, const TensorView& weight, const void* parts, int64_t splits,
               const std::array<int, 3>& axes, cudaStream_t stream) {
  WeightParts p{};
  p.parts = static_cast<const float*>(parts);
  p.weights = problem.in_channels * problem.out_channels_per_group() * volume(problem.kernel);
  p.splits = static_cast<int>(splits);
  for (int dim = 0; dim < 2; ++dim) p.stride[dim] = weight.stride[dim];
  for (int i = 0; i < 3; ++i) {
    p.stride[2 + i] = weight.stride[2 + axes[i]];
    p.by_kernel[i] = make_divisor(problem.kernel[axes[i]]);
  }
  p.by_outs = make_divisor(problem.out_channels_per_group());
  const auto blocks = static_cast<unsigned>(ceil_div(p.weights, kThreads));
  add_parts_kernel<T><<<blocks, kThreads, 0, stream>>>(p, static_cast<T*>(weight.data));
  check(cudaGetLastError(), "few_channels add_parts_kernel");
}

}  // namespace convt3d::cuda::few_channels
