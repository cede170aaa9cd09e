// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cuda_runtime_api.h>

namespace convt3d::cuda::line_weight {

// Four sums of a thread, of all parts, of which part(i) has four: `lanes` of the block's kWarps
// warps share them. In a fixed order and in float64, which leaves one rounding. By all threads;
// true for those that have the result.
template <int kWarps, typename Part>
__device__ __forceinline__ bool add_splits(int parts, int lanes, double (&sum)[4],
                                           const Part& part) {
  __shared__ double warp_sums[kWarps][4][32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = warp % lanes;
#pragma unroll 4
  for (int i = first; i < parts; i += lanes) {
    const float4 four = part(i);
    sum[0] += four.x;
    sum[1] += four.y;
    sum[2] += four.z;
    sum[3] += four.w;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) warp_sums[warp][i][lane] = sum[i];
  __syncthreads();  // all warps have written
  if (first > 0) return false;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    for (int other = 1; other < lanes; ++other) sum[i] += warp_sums[warp + other][i][lane];
  }
  return true;
}

}  // namespace convt3d::cuda::line_weight
