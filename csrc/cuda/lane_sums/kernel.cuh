// SPDX-License-Identifier: BSD-3-Clause
// Results of which there are few, or whose sums are short: what counts is one launch, and one wait
// for memory.
//
//   grad_weight  weight[ci, co, t] = sum over n, i   output[n, co, s*i + d*t - p] * input[n, ci, i]
//   grad_input   input[n, ci, i] = sum over co, t  output[n, co, s*i + d*t - p] * weight[ci, co, t]
//   forward      output[n, co, o] = sum over ci, j  input[n, ci, q - d*j] * weight[ci, co, r + s*j]
//
// with o + p = s*q + r, where s or d is 1 on each axis; `output` is grad_output in gradients.
// Each is a sum over four digits of first[...] * second[...], and its results have four digits,
// too, beside channels and group:
//
//               digits of a result    of its sum    first          second
//   grad_weight taps; co              i; n          output         input
//   grad_input  i; n                  taps; co      output         weight
//   forward     o; n                  j; ci         input          weight
//
// A unit is a result in kTile neighbouring channels (ci; forward: co), for which `first` is loaded
// once. p.lanes neighbouring threads share a unit: each takes every so many-th product, and
// their sums are added by shuffles, in a fixed order:
//
//   lane      0   1   2   3   0   1   2   3       products of a sum ->
//             +---+---+---+---+---+---+---+---+
//   kTile     | x | x | x | x | x | x | x | x |   kSteps of a lane are loaded at once
//             +---+---+---+---+---+---+---+---+
//
// supports() guarantees 32-bit coordinates and counts.
#pragma once
#include <cstdint>

#include "cuda/common/divisor.cuh"
#include "cuda/common/element.cuh"
#include "cuda/lane_sums/tuning.h"

namespace convt3d::cuda::lane_sums {

// Digits are w, h, d and the fourth one.
struct LaneSums {
  const void *first, *second, *bias;
  void* result;
  int64_t bias_stride;
  int units, lanes, products;  // products of a sum
  int channels;                // of the result and a group
  bool forward;
  Divisor by_result[4], by_tiles, by_product[3];
  // Place in `first` on an axis: result_scale * digit + result_base + product_scale * digit of the
  // sum; forward: (digit + result_base) / the stride for the former.
  int result_scale[3], result_base[3], product_scale[3], first_extent[3];
  int kernel[3];         // forward
  Divisor by_stride[3];  // forward
  int64_t first_axis[3], first_result, first_product, first_group;
  int64_t second_product[4], second_tap[3], second_channel, second_group;
  int64_t result_digit[4], result_channel, result_group;
};

template <typename T, int kTile>
__global__ __launch_bounds__(kThreads) void lane_sums_kernel(const __grid_constant__ LaneSums p) {
#if __CUDA_ARCH__ >= 900  // before, predicates are spilled
  using Sum = Accumulator<T>;
  const int thread = blockIdx.x * kThreads + threadIdx.x;
  const int lane = thread & (p.lanes - 1), unit = thread / p.lanes;
  const bool own = unit < p.units;
  int rest = own ? unit : 0;

  int base[3], taps[3];  // of the sum; forward: taps that the result has
  int64_t first_at = 0, second_at = 0, result_at = 0;
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    const int digit = divide(&rest, p.by_result[axis]);
    result_at += digit * p.result_digit[axis];
    taps[axis] = static_cast<int>(p.by_product[axis].value);
    base[axis] = p.result_scale[axis] * digit + p.result_base[axis];
    if (p.forward) {
      const int tap = divide(&base[axis], p.by_stride[axis]);
      const int stride = static_cast<int>(p.by_stride[axis].value);
      taps[axis] = tap < p.kernel[axis] ? (p.kernel[axis] - 1 - tap) / stride + 1 : 0;
      second_at += tap * p.second_tap[axis];
    }
    first_at += base[axis] * p.first_axis[axis];
  }
  const int fourth = divide(&rest, p.by_result[3]);
  const int first_channel = divide(&rest, p.by_tiles) * kTile, group = rest;
  first_at += fourth * p.first_result + group * p.first_group;
  second_at += first_channel * p.second_channel + group * p.second_group;
  result_at +=
      fourth * p.result_digit[3] + first_channel * p.result_channel + group * p.result_group;
  const int channels = own ? p.channels - first_channel : 0;

  const T* const first = static_cast<const T*>(p.first) + first_at;
  const T* const second = static_cast<const T*>(p.second) + second_at;
  // float32: channels behind the last are the last once more, and not stored, as predicates are
  // few. 16 bits have registers too few for the places.
  int64_t channel_at[kTile];
#pragma unroll
  for (int j = 0; j < kTile; ++j) channel_at[j] = max(min(j, channels - 1), 0) * p.second_channel;
  Sum sum[kTile] = {};
#pragma unroll kSteps
  for (int product = lane; product < p.products; product += p.lanes) {
    int next = product;
    int64_t first_offset = 0, second_offset = 0;
    bool there = true;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      const int digit = divide(&next, p.by_product[axis]);
      const int place = p.product_scale[axis] * digit;
      first_offset += place * p.first_axis[axis];
      second_offset += digit * p.second_product[axis];
      there &= digit < taps[axis] && static_cast<unsigned>(base[axis] + place) <
                                         static_cast<unsigned>(p.first_extent[axis]);
    }
    first_offset += next * p.first_product;
    second_offset += next * p.second_product[3];
    const Sum one = load_or_zero(first + first_offset, there);
#pragma unroll
    for (int j = 0; j < kTile; ++j) {
      const int64_t own_at = sizeof(T) == 4 ? channel_at[j] : j * p.second_channel;
      const bool in = there && (sizeof(T) == 4 || j < channels);
      sum[j] += one * load_or_zero(second + second_offset + own_at, in);
    }
  }
  for (int half = p.lanes / 2; half > 0; half /= 2) {
#pragma unroll
    for (int j = 0; j < kTile; ++j) sum[j] += __shfl_xor_sync(0xffffffffu, sum[j], half);
  }
  Sum value = 0;
  T* const result = static_cast<T*>(p.result) + result_at;
  for (int j = lane; j < min(channels, kTile); j += p.lanes) {
#pragma unroll
    for (int i = 0; i < kTile; ++i) value = i == j ? sum[i] : value;
    if (p.bias != nullptr) {
      value += widen(static_cast<const T*>(
          p.bias)[(int64_t{group} * p.channels + first_channel + j) * p.bias_stride]);
    }
    result[j * p.result_channel] = narrow<T>(value);
  }
#endif
}

}  // namespace convt3d::cuda::lane_sums
