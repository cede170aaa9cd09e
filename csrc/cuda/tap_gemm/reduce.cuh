// SPDX-License-Identifier: BSD-3-Clause
// The sums of all splits, added in a fixed order, into grad_weight's own strides. Included once.
#pragma once
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/tap_gemm/rows.cuh"

namespace convt3d::cuda::tap_gemm {

inline constexpr int kReduceThreads = 256, kMaxReduceLanes = 8;

// blockDim = (elements, lanes): lane y takes every lanes-th split; lane 0 adds up the lanes.
__global__ void __launch_bounds__(kReduceThreads)
    reduce_kernel(const __grid_constant__ Params p, int64_t total) {
  __shared__ double lane_sums[kReduceThreads];
  const int64_t index = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  sm90::wait_for_earlier_launch();
  double sum = 0;  // leaves one rounding
  if (index < total) {
#pragma unroll 8
    for (int split = threadIdx.y; split < p.splits; split += blockDim.y) {
      sum += p.partial[split * total + index];
    }
  }
  lane_sums[threadIdx.y * blockDim.x + threadIdx.x] = sum;
  __syncthreads();  // all lanes have written
  if (threadIdx.y > 0 || index >= total) return;
  for (unsigned y = 1; y < blockDim.y; ++y) sum += lane_sums[y * blockDim.x + threadIdx.x];
  const int64_t channel = index / p.all_rows;
  const int rest = static_cast<int>(index - channel * p.all_rows);
  const int tap_group = rest / p.group_rows;
  const PairOfRow pair(p, tap_group, rest - tap_group * p.group_rows);
  if (pair.is_there(p)) {
    p.result.data[channel * p.result.stride[0] + pair.result_offset(p)] = static_cast<float>(sum);
  }
}

}  // namespace convt3d::cuda::tap_gemm
