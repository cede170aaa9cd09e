// SPDX-License-Identifier: BSD-3-Clause
// The sums of all splits, added in a fixed order, into grad_weight's own type and strides. A thread
// has what a consumer thread of line_kernel had, of 8 in_channels.
//
//   warps of a block:  [consumer warps of these in_channels][lanes that share the splits]
#pragma once
#include "cuda/line_weight/consume.cuh"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::line_weight {

inline constexpr int kReduceWarps = 8, kReduceThreads = 32 * kReduceWarps;

// Blocks: kConsumerThreads / 32 * lanes / kReduceWarps of each 8 columns of each job.
template <typename T, int kIndex>
__global__ void __launch_bounds__(kReduceThreads)
    reduce_kernel(const __grid_constant__ Params p, int lanes) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr Tile kTile = kTiles[kIndex];
  constexpr int kSlabs = kTile.slabs(), kColumnGroups = kTile.columns / 8;
  __shared__ double lane_sums[kReduceWarps][4 * kSlabs][32];
  const int warp = threadIdx.x / 32, lane = warp % lanes;
  const int item = blockIdx.x * (kReduceWarps / lanes) + warp / lanes;
  constexpr int kWarps = kConsumerThreads / 32;
  const int consumer = item % kWarps * 32 + threadIdx.x % 32;
  const int j = item / kWarps % kColumnGroups, job = item / kWarps / kColumnGroups;
  double sum[4 * kSlabs] = {};  // leaves one rounding
  sm90::wait_for_earlier_launch();
#pragma unroll 4
  for (int split = lane; split < p.splits; split += lanes) {
    const float4* piece =
        reinterpret_cast<const float4*>(p.partial) +
        (int64_t{split} * p.jobs + job) * (kSlabs * kColumnGroups * kConsumerThreads) + consumer;
#pragma unroll
    for (int slab = 0; slab < kSlabs; ++slab) {
      const float4 part = piece[(slab * kColumnGroups + j) * kConsumerThreads];
      sum[4 * slab] += part.x;
      sum[4 * slab + 1] += part.y;
      sum[4 * slab + 2] += part.z;
      sum[4 * slab + 3] += part.w;
    }
  }
  if (lanes > 1) {
#pragma unroll
    for (int i = 0; i < 4 * kSlabs; ++i) lane_sums[warp][i][threadIdx.x % 32] = sum[i];
    __syncthreads();  // all lanes have written
    if (lane > 0) return;
    for (int other = 1; other < lanes; ++other) {
#pragma unroll
      for (int i = 0; i < 4 * kSlabs; ++i) sum[i] += lane_sums[warp + other][i][threadIdx.x % 32];
    }
  }
  const int line_tile = job / p.column_tiles;
  store_sums<T, kTile>(p, line_tile * kTile.lines(),
                       (job - line_tile * p.column_tiles) * kTile.columns, consumer, j,
                       [&](int i) { return static_cast<float>(sum[i]); });
#endif
}

}  // namespace convt3d::cuda::line_weight
