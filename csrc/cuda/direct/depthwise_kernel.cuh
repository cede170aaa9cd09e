// SPDX-License-Identifier: BSD-3-Clause
// The depthwise scheme: forward and grad_input with one channel on both sides of every group.
//
//   A thread keeps a run of kRun neighbouring rows on axis d or h (p.run_axis): the same w, so that
//   one comparison and one step serve the loads of the whole run.
//   Neighbouring threads take neighbouring positions on w, or, where the channel is innermost in
//   memory, `group_lanes` of them take neighbouring groups.
#pragma once
#include <cstdint>
#include <type_traits>

#include "cuda/common/element.cuh"
#include "cuda/direct/gather_gemm.cuh"
#include "cuda/direct/tuning.h"

namespace convt3d::cuda::direct {

__device__ __forceinline__ bool within(int coordinate, int64_t extent) {
  return static_cast<unsigned>(coordinate) < static_cast<unsigned>(extent);
}

template <typename T>
__global__ __launch_bounds__(kGatherThreads,
                             sizeof(Accumulator<T>) == 4
                                 ? 4
                                 : 2) void depthwise_kernel(const __grid_constant__ GatherGemm p) {
  using Sum = Accumulator<T>;
  __shared__ Side rows, pairs;
  __shared__ Work work;
  const int lane = threadIdx.x % p.group_lanes, lane_row = threadIdx.x / p.group_lanes;
  const int axis = p.run_axis;

  for (int64_t index = blockIdx.x; index < p.work; index += gridDim.x) {
    enter(p, index, &work, &rows, &pairs);
    const int64_t group = work.group_tile * p.group_lanes + lane;
    const int64_t extent = rows.radix[1 + axis], runs = (extent + kRun - 1) / kRun;
    int64_t rest = work.row_tile * (kGatherThreads / p.group_lanes) + lane_row;
    int64_t digit[4];
    digit[3] = divide(&rest, rows.radix[3]);
    digit[2] = divide(&rest, axis == 1 ? runs : rows.radix[2]);
    digit[1] = divide(&rest, axis == 0 ? runs : rows.radix[1]);
    digit[0] = rest;
    if (group >= p.groups || digit[0] >= rows.radix[0]) continue;
    const int64_t first = (axis == 0 ? digit[1] : digit[2]) * kRun;
    if (axis == 0) digit[1] = first;
    if (axis == 1) digit[2] = first;
    const int length = static_cast<int>(min(extent - first, int64_t{kRun}));
    const Place<int> own = place<int>(p, rows, digit);
    const int run_step = static_cast<int>(rows.scale[axis]);
    const int64_t source_step = run_step * p.source_stride[axis];

    const T* source = static_cast<const T*>(p.source) + group * p.source_group_stride + own.offset;
    const Sum* b = static_cast<const Sum*>(p.b) + far_origin(pairs) + group * p.b_group_stride;
    const int taps_d = static_cast<int>(pairs.radix[0]), taps_h = static_cast<int>(pairs.radix[1]);
    const int taps_w = static_cast<int>(pairs.radix[2]);
    const int step_w = static_cast<int>(pairs.scale[2]);
    const int64_t source_step_w = step_w * p.source_stride[2];
    const int64_t b_step_w = pairs.far_stride[2];
    const int first_w = static_cast<int>(pairs.base[2]);

    Sum sum[kRun] = {}, total[kRun] = {};
    int chain = 0;  // pairs in sum
#pragma unroll 1
    for (int d = 0; d < taps_d; ++d) {
      const int tap_d = static_cast<int>(pairs.base[0] + pairs.scale[0] * d);
#pragma unroll 1
      for (int h = 0; h < taps_h; ++h) {
        const int tap_h = static_cast<int>(pairs.base[1] + pairs.scale[1] * h);
        bool hits[kRun], any = false;
#pragma unroll
        for (int r = 0; r < kRun; ++r) {
          const int shift = r * run_step;
          hits[r] =
              r < length &&
              within(own.coordinate[0] + tap_d + (axis == 0 ? shift : 0), p.source_extent[0]) &&
              within(own.coordinate[1] + tap_h + (axis == 1 ? shift : 0), p.source_extent[1]);
          any = any || hits[r];
        }
        if (!any) continue;
        const T* line = source + (tap_d * p.source_stride[0] + tap_h * p.source_stride[1] +
                                  first_w * p.source_stride[2]);
        const Sum* factors = b + d * pairs.far_stride[0] + h * pairs.far_stride[1];
        const auto add_line = [&](auto known_taps) {
          constexpr int kTaps = decltype(known_taps)::value;  // 0: taps_w
          const T* element[kRun];
#pragma unroll
          for (int r = 0; r < kRun; ++r) element[r] = line + r * source_step;
          int coordinate = own.coordinate[2] + first_w;
          const Sum* factor = factors;
#pragma unroll(kTaps > 0 ? kTaps : 2)
          for (int w = 0; w < (kTaps > 0 ? kTaps : taps_w); ++w) {
            const bool hit_w = within(coordinate, p.source_extent[2]);
#pragma unroll
            for (int r = 0; r < kRun; ++r) {
              sum[r] += load_or_zero(element[r], hits[r] && hit_w) * *factor;
              element[r] += source_step_w;
            }
            coordinate += step_w;
            factor += b_step_w;
          }
        };
        // The loads of all taps of a line are in flight at once.
        if (taps_w == 1) {
          add_line(std::integral_constant<int, 1>());
        } else if (taps_w == 2) {
          add_line(std::integral_constant<int, 2>());
        } else if (taps_w == 3) {
          add_line(std::integral_constant<int, 3>());
        } else {
          add_line(std::integral_constant<int, 0>());
        }
        chain += taps_w;
        if (chain < kRunK) continue;
        chain = 0;
#pragma unroll
        for (int r = 0; r < kRun; ++r) {
          total[r] += sum[r];
          sum[r] = 0;
        }
      }
    }

    const Sum bias =
        p.bias == nullptr ? Sum(0) : widen(static_cast<const T*>(p.bias)[group * p.bias_stride]);
    T* c = static_cast<T*>(p.c) + group * p.c_group_stride + far_offset(rows, digit);
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
      if (r < length) c[r * rows.far_stride[1 + axis]] = narrow<T>((total[r] + sum[r]) + bias);
    }
  }
}

}  // namespace convt3d::cuda::direct
