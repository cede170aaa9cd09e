// SPDX-License-Identifier: BSD-3-Clause
// The sums of all splits of shift_kernel.cuh, added in a fixed order, into grad_weight's own type
// and strides. A block has four sums of each thread of a consumer warp: of one unit, tap along w
// and 8 in_channels; `lanes` of its warps share the splits.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/line_weight/shift_params.h"
#include "cuda/line_weight/split_sums.cuh"
#include "cuda/line_weight/tuning.h"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::line_weight {

inline constexpr int kShiftReduceWarps = 8;

template <typename T>
__global__ void __launch_bounds__(32 * kShiftReduceWarps)
    shift_reduce_kernel(const __grid_constant__ ShiftParams p, ShiftTile tile, int lanes) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kWarps = kConsumerThreads / 32;
  const int quads = tile.columns / 8, fours = tile.units * tile.taps * quads;  // of a thread
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int place = blockIdx.x * (kShiftReduceWarps / lanes) + warp / lanes;
  const int job = place / (fours * kWarps), item = place % (fours * kWarps);
  const int consumer = item % kWarps, four = item / kWarps;  // [unit][tap][8 in_channels]
  const float4* const from = reinterpret_cast<const float4*>(p.partial) +
                             (int64_t{job} * fours + four) * kConsumerThreads + consumer * 32 +
                             lane;
  const int64_t next = int64_t{p.jobs} * fours * kConsumerThreads;
  double sum[4] = {};
  sm90::wait_for_earlier_launch();
  const auto part = [&](int i) { return from[i * next]; };
  if (!add_splits<kShiftReduceWarps>(p.splits, lanes, sum, part)) return;
  const ShiftJob of(p, tile.columns, job);
  const int slab = four / quads, unit = slab / tile.taps, tap_w = slab - unit * tile.taps;
  const int column = of.first_column + four % quads * 8 + lane % 4 * 2;
  const auto* s = p.weight_stride;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = (consumer / 4 * tile.units + unit) * kShiftUnitRows + consumer % 4 * 16 +
                    lane / 4 + i / 2 * 8;
    const int tap = row / p.channels, channel = of.first_channel + row - tap * p.channels;
    if (row >= p.rows || channel >= p.out_channels || column + i % 2 >= p.in_channels) continue;
    const int tap_d = tap / p.kernel_h;
    static_cast<T*>(
        p.weight)[(column + i % 2) * s[0] + channel * s[1] + (of.first_tap + tap_d) * s[2] +
                  (tap - tap_d * p.kernel_h) * s[3] + tap_w * s[4]] =
        narrow<T>(static_cast<float>(sum[i]));
  }
#endif
}

}  // namespace convt3d::cuda::line_weight
