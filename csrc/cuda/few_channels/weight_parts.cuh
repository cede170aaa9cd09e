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

// Threads that share a weight's parts, where there are so many that one would wait for them: 20 us
// for 1728 weights of some hundred splits (ncu, H200).
inline constexpr int kPartSlices = 8;
inline constexpr int64_t kManySplits = 16;

struct WeightParts {
  const float* parts;  // [split][in_channels][out_channels / groups][three axes of the kernel]
  int64_t weights;     // of one split
  int64_t stride[5];   // of the result, in the order of the parts
  int splits;
  Divisor by_kernel[3], by_outs;
};

// Adds the parts. kSlices threads share those of a weight, every kSlices-th of them; their sums are
// added in a fixed order.
template <typename T, int kSlices>
__global__ __launch_bounds__(kThreads) void add_parts_kernel(const __grid_constant__ WeightParts p,
                                                             T* weight) {
  constexpr int kWeights = kThreads / kSlices;  // of a block
  const int lane = threadIdx.x % kWeights, slice = threadIdx.x / kWeights;
  const int64_t at = blockIdx.x * int64_t{kWeights} + lane;
  double total = 0;  // leaves one rounding
  if (at < p.weights) {
#pragma unroll 8
    for (int split = slice; split < p.splits; split += kSlices) {
      total += p.parts[split * p.weights + at];
    }
  }
  if constexpr (kSlices > 1) {
    __shared__ double of_slice[kSlices][kWeights];
    of_slice[slice][lane] = total;
    __syncthreads();  // the sums of all slices are there
    if (slice > 0) return;
#pragma unroll
    for (int other = 1; other < kSlices; ++other) total += of_slice[other][lane];
  }
  if (at >= p.weights) return;
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
  const bool sliced = splits >= kManySplits;
  const auto kernel = sliced ? add_parts_kernel<T, kPartSlices> : add_parts_kernel<T, 1>;
  const int64_t own = sliced ? kThreads / kPartSlices : kThreads;
  const auto blocks = static_cast<unsigned>(ceil_div(p.weights, own));
  kernel<<<blocks, kThreads, 0, stream>>>(p, static_cast<T*>(weight.data));
  check(cudaGetLastError(), "few_channels add_parts_kernel");
}

}  // namespace convt3d::cuda::few_channels
