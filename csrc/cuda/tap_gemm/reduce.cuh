// SPDX-License-Identifier: BSD-3-Clause
// The sums of all splits, added in a fixed order, into grad_weight's own strides. Included once.
#pragma once
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/tap_gemm/rows.cuh"

namespace convt3d::cuda::tap_gemm {

// Channels of a thread: finding where its row lies in the weight takes longer than their sums.
inline constexpr int kReduceThreads = 256, kMaxReduceLanes = 8, kReduceChannels = 4;

// blockDim = (rows, lanes): lane y takes every lanes-th split; lane 0 adds up the lanes.
// Blocks: of all rows, for each kReduceChannels in_channels of all groups.
__global__ void __launch_bounds__(kReduceThreads)
    reduce_kernel(const __grid_constant__ Params p, int row_blocks) {
  __shared__ double lane_sums[kReduceChannels][kReduceThreads];
  const int channel_block = blockIdx.x / row_blocks;
  const int row = (blockIdx.x - channel_block * row_blocks) * blockDim.x + threadIdx.x;
  const int tap_group = row / p.group_rows;
  const PairOfRow pair(p, tap_group, row - tap_group * p.group_rows);
  const int first = channel_block * kReduceChannels;
  const int channels =
      row < p.all_rows ? min(kReduceChannels, p.groups * p.in_channels - first) : 0;
  const int64_t copy = int64_t{p.groups} * p.in_channels * p.all_rows;  // of a split
  const float* const from = p.partial + int64_t{first} * p.all_rows + row;
  sm90::wait_for_earlier_launch();
  double sum[kReduceChannels] = {};  // leaves one rounding
#pragma unroll 4
  for (int split = threadIdx.y; split < p.splits; split += blockDim.y) {
#pragma unroll
    for (int c = 0; c < kReduceChannels; ++c) {
      if (c < channels) sum[c] += from[split * copy + int64_t{c} * p.all_rows];
    }
  }
#pragma unroll
  for (int c = 0; c < kReduceChannels; ++c) {
    lane_sums[c][threadIdx.y * blockDim.x + threadIdx.x] = sum[c];
  }
  __syncthreads();  // all lanes have written
  if (threadIdx.y > 0 || !pair.is_there(p)) return;
  float* const to = p.result.data + first * p.result.stride[0] + pair.result_offset(p);
#pragma unroll
  for (int c = 0; c < kReduceChannels; ++c) {
    if (c >= channels) break;
    for (unsigned y = 1; y < blockDim.y; ++y) sum[c] += lane_sums[c][y * blockDim.x + threadIdx.x];
    to[c * p.result.stride[0]] = static_cast<float>(sum[c]);
  }
}

}  // namespace convt3d::cuda::tap_gemm
