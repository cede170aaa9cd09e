// SPDX-License-Identifier: BSD-3-Clause
// The sums of all splits, added in a fixed order, into the weight's own type and strides.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/weight_gemm/call.h"

namespace convt3d::cuda::weight_gemm {

inline constexpr int kReduceThreads = 256, kMaxReduceLanes = 8;

// blockDim = (elements, lanes): lane y takes every lanes-th split; lane 0 adds up the lanes.
template <typename T>
__global__ __launch_bounds__(kReduceThreads) void reduce_kernel(
    const __grid_constant__ Result result, const float* partial, int64_t total, int splits) {
  __shared__ double lane_sums[kReduceThreads];
  const int64_t index = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  double sum = 0;  // leaves one rounding
  if (index < total) {
#pragma unroll 8
    for (int split = threadIdx.y; split < splits; split += blockDim.y) {
      sum += partial[split * total + index];
    }
  }
  lane_sums[threadIdx.y * blockDim.x + threadIdx.x] = sum;
  __syncthreads();  // all lanes have written
  if (threadIdx.y > 0 || index >= total) return;
  for (unsigned y = 1; y < blockDim.y; ++y) sum += lane_sums[y * blockDim.x + threadIdx.x];
  const int64_t row = index / result.out_channels, tap = row / result.in_channels;
  const int64_t line = tap / result.kernel[2], plane = line / result.kernel[1];
  static_cast<T*>(
      result.data)[(row - tap * result.in_channels) * result.stride[0] +
                   (index - row * result.out_channels) * result.stride[1] +
                   plane * result.stride[2] + (line - plane * result.kernel[1]) * result.stride[3] +
                   (tap - line * result.kernel[2]) * result.stride[4]] =
      narrow<T>(static_cast<float>(sum));
}

}  // namespace convt3d::cuda::weight_gemm
