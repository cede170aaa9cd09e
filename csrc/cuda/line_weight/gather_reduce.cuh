// SPDX-License-Identifier: BSD-3-Clause
// The sums of all splits of gather_kernel.cuh, added in a fixed order, into grad_weight's own type
// and strides. A block has four sums of each thread of a consumer warp: of one tap along h and w,
// and 8 in_channels; `lanes` of its warps share the splits.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/line_weight/gather_load.cuh"
#include "cuda/line_weight/split_sums.cuh"
#include "cuda/line_weight/tuning.h"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::line_weight {

inline constexpr int kGatherReduceWarps = 8;
// Of a job.
inline constexpr int kGatherItems = kConsumerThreads / 32 * (kGatherColumns / 8) * kGatherSlabs;

template <typename T>
__global__ void __launch_bounds__(32 * kGatherReduceWarps)
    gather_reduce_kernel(const __grid_constant__ GatherParams p, int lanes) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kWarps = kConsumerThreads / 32, kColumnGroups = kGatherColumns / 8;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int place = blockIdx.x * (kGatherReduceWarps / lanes) + warp / lanes;
  const int job = place / kGatherItems, item = place % kGatherItems;
  const int consumer = item % kWarps, fours = item / kWarps;  // [tap][8 in_channels]
  const bool has_sums = rows_of(p, consumer) < p.rows && consumer < kWarps / p.shares;
  double sum[4] = {};
  sm90::wait_for_earlier_launch();
  const int second = p.shares - 1;  // a block has a part of each of its shares, one or two
  const int parts = has_sums ? p.splits * p.shares : 0;
  const float4* const from = reinterpret_cast<const float4*>(p.partial) +
                             (int64_t{job} * (kGatherItems / kWarps) + fours) * kConsumerThreads +
                             consumer * 32 + lane;
  const int64_t next = int64_t{p.jobs} * (kGatherItems / kWarps) * kConsumerThreads;
  const bool done = add_splits<kGatherReduceWarps>(parts, lanes, sum, [&](int i) {
    return from[(i >> second) * next + (i & second) * (kConsumerThreads / 2)];
  });
  if (!done || !has_sums) return;
  const GatherJob of(p, job);
  const int slab = fours / kColumnGroups, tap_h = slab / kGatherKernel;
  const int column =
      of.first_column + columns_of(p, consumer) + fours % kColumnGroups * 8 + lane % 4 * 2;
  const auto* s = p.weight_stride;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = rows_of(p, consumer) + lane / 4 + i / 2 * 8;
    const GatherRow place(p, gather_group(sizeof(T)), row);
    const int channel = of.first_channel + place.channel;
    if (row >= p.rows || channel >= p.out_channels || column + i % 2 >= p.in_channels) continue;
    static_cast<T*>(
        p.weight)[(column + i % 2) * s[0] + channel * s[1] + (of.first_tap + place.tap) * s[2] +
                  tap_h * s[3] + (slab - tap_h * kGatherKernel) * s[4]] =
        narrow<T>(static_cast<float>(sum[i]));
  }
#endif
}

}  // namespace convt3d::cuda::line_weight
