// SPDX-License-Identifier: BSD-3-Clause
// From a thread's sums to the result: the one rounding, and whole lines where memory allows.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/few_channels/config.h"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/vector.cuh"

namespace convt3d::cuda::few_channels {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kReductionSteps = 3;
static_assert(1 << kReductionSteps == kReductionLanes);

// Sums lie as [cell][residue on w][out channel].

// Neighbouring threads hold neighbouring cells of a row, two outputs each. Pairs are stored where
// they are aligned: a thread's own two, or its second and its neighbour's first.
//
//    aligned      | a0 b0 | a1 b1 | a2 b2 |         shifted    a0 | b0 a1 | b1 a2 | b2
//
template <typename I>
__device__ __forceinline__ void store_planes(const FewChannels& p, const Place& place,
                                             int first_out, int outs, const float (&sum)[I::kSums],
                                             const float (&bias)[I::kOuts]) {
  using T = typename I::T;
  const int outer = place.outer * p.stride[0] + place.residue[0] - p.padding[0];
  const int first_run = place.run * p.stride[1] + place.residue[1] - p.padding[1];
  const int w = place.w * I::kStrideW - p.padding[2];
  const bool there = place.active && within(outer, p.output_extent[0]);
  T* const first = static_cast<T*>(p.output) + place.n * p.output_stride[0] +
                   first_out * p.output_stride[1] + outer * p.output_stride[2] +
                   first_run * p.output_stride[3] + w * p.output_stride[4];
  const bool hit_a = there && within(w, p.output_extent[2]);
  const bool hit_b = there && within(w + 1, p.output_extent[2]);
  // The row goes on in the next thread; the last cell of a row has no successor there.
  const bool has_next = threadIdx.x % 32 != 31 && within(w + 2, p.output_extent[2]);
  const bool has_previous = threadIdx.x % 32 != 0 && place.w > p.first_cell[2];
  const int64_t step = p.stride[1] * p.output_stride[3];
#pragma unroll
  for (int v = 0; v < I::kOuts; ++v) {
    T* own = first + v * p.output_stride[1];
    const bool shifted = reinterpret_cast<uintptr_t>(own) % (2 * sizeof(T)) != 0;
    // Rows of a run that are aligned in turns get no pairs.
    const bool paired = p.output_stride[4] == 1 && step % 2 == 0;
    const bool pair = v < outs && paired && hit_b && (shifted ? has_next : hit_a);
    const bool lent = shifted ? paired && has_previous : pair;  // a is stored in a pair
    const bool only_a = v < outs && hit_a && !lent;
    const bool only_b = v < outs && hit_b && !pair;
    const int pair_at = shifted ? 1 : 0;
#pragma unroll
    for (int c = 0; c < I::kCells; ++c) {
      const bool hit = within(first_run + c * p.stride[1], p.output_extent[1]);
      const T a = narrow<T>(sum[c * I::kStrideW * I::kOuts + v] + bias[v]);
      if constexpr (I::kStrideW == 1) {
        if (hit && hit_a && v < outs) *own = a;
      } else {
        const T b = narrow<T>(sum[(c * I::kStrideW + 1) * I::kOuts + v] + bias[v]);
        const T next = __shfl_down_sync(kAllLanes, a, 1);
        Vector<T, 2> values;
        values.value[0] = shifted ? b : a;
        values.value[1] = shifted ? next : b;
        if (hit && pair) *reinterpret_cast<Vector<T, 2>*>(own + pair_at) = values;
        if (hit && only_a) own[0] = a;
        if (hit && only_b) own[p.output_stride[4]] = b;
      }
      own += step;
    }
  }
}

// A thread holds neighbouring channels of each output.
template <typename I>
__device__ __forceinline__ void store_channels(const FewChannels& p, const Place& place,
                                               int first_out, int outs,
                                               const float (&sum)[I::kSums],
                                               const float (&bias)[I::kOuts]) {
  using T = typename I::T;
  const int outer = place.outer * p.stride[0] + place.residue[0] - p.padding[0];
  const int first_run = place.run * p.stride[1] + place.residue[1] - p.padding[1];
  const int first_w = place.w * I::kStrideW - p.padding[2];
  if (!place.active || !within(outer, p.output_extent[0])) return;
  T* line = static_cast<T*>(p.output) + place.n * p.output_stride[0] +
            first_out * p.output_stride[1] + outer * p.output_stride[2] +
            first_run * p.output_stride[3] + first_w * p.output_stride[4];
  const int64_t step = p.stride[1] * p.output_stride[3];
#pragma unroll
  for (int c = 0; c < I::kCells; ++c, line += step) {
    if (!within(first_run + c * p.stride[1], p.output_extent[1])) continue;
#pragma unroll
    for (int r = 0; r < I::kStrideW; ++r) {
      if (!within(first_w + r, p.output_extent[2])) continue;
      T* const own = line + r * p.output_stride[4];
      Vector<T, I::kOuts> values;
#pragma unroll
      for (int v = 0; v < I::kOuts; ++v) {
        values.value[v] = narrow<T>(sum[(c * I::kStrideW + r) * I::kOuts + v] + bias[v]);
      }
      if (p.long_stores) {
        *reinterpret_cast<Vector<T, I::kOuts>*>(own) = values;
        continue;
      }
#pragma unroll
      for (int v = 0; v < I::kOuts; ++v) {
        if (v < outs) own[v * p.output_stride[1]] = values.value[v];
      }
    }
  }
}

// kReductionLanes threads hold parts of the same sums. At each step a thread keeps one half of its
// sums and sends the other: in the end each has the whole of one share, always added in this order.
template <typename I>
__device__ __forceinline__ void store_reduced(const FewChannels& p, const Place& place, int lane,
                                              int outs, float (&sum)[I::kSums],
                                              const float (&bias)[I::kOuts]) {
  using T = typename I::T;
  static_assert(I::kSums % kReductionLanes == 0);
  int first = 0;
#pragma unroll
  for (int step = 0; step < kReductionSteps; ++step) {
    const int half = kReductionLanes >> (step + 1), kept = I::kSums >> (step + 1);
    const bool upper = (lane & half) != 0;
#pragma unroll
    for (int s = 0; s < kept; ++s) {
      const float low = sum[s], high = sum[s + kept];
      const float other = __shfl_xor_sync(kAllLanes, upper ? low : high, half);
      sum[s] = (upper ? high : low) + other;
    }
    if (upper) first += kept;
  }
  const int outer = place.outer * p.stride[0] + place.residue[0] - p.padding[0];
  if (!place.active || !within(outer, p.output_extent[0])) return;
  T* const plane =
      static_cast<T*>(p.output) + place.n * p.output_stride[0] + outer * p.output_stride[2];
#pragma unroll
  for (int s = 0; s < I::kSums / kReductionLanes; ++s) {
    const int index = first + s;
    const int v = index % I::kOuts, r = index / I::kOuts % I::kStrideW;
    const int c = index / (I::kOuts * I::kStrideW);
    const int run = (place.run + c) * p.stride[1] + place.residue[1] - p.padding[1];
    const int w = place.w * I::kStrideW + r - p.padding[2];
    float own_bias = bias[0];
#pragma unroll
    for (int other = 1; other < I::kOuts; ++other) own_bias = v == other ? bias[other] : own_bias;
    if (v < outs && within(run, p.output_extent[1]) && within(w, p.output_extent[2])) {
      plane[v * p.output_stride[1] + run * p.output_stride[3] + w * p.output_stride[4]] =
          narrow<T>(sum[s] + own_bias);
    }
  }
}

template <typename I>
__device__ __forceinline__ void store(const FewChannels& p, const Place& place, int first_out,
                                      int outs, int lane, const float (&bias)[I::kOuts],
                                      float (&sum)[I::kSums]) {
  if constexpr (I::kMapping == Mapping::planes) {
    store_planes<I>(p, place, first_out, outs, sum, bias);
  } else if constexpr (I::kMapping == Mapping::reduction) {
    store_reduced<I>(p, place, lane, outs, sum, bias);
  } else {
    store_channels<I>(p, place, first_out, outs, sum, bias);
  }
}

}  // namespace convt3d::cuda::few_channels
