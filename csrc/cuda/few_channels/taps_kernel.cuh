// SPDX-License-Identifier: BSD-3-Clause
// grad_input of kernels with very many taps (16^3 and more) on few positions.
//
//   input[n, ci, i] = sum over co, t of output[n, co, s*i + d*t - p] * weight[ci, co, t]
//
// Neighbouring threads are neighbouring taps, so a block sums the taps of a few results: kCells
// positions that follow each other on w, kIns channels. Taps outside grad_output on d or h are left
// out for all of them, those on w one by one.
//
//     taps on d, h, w that hit, flattened     | t0 t1 ... t127 | t128 ...
//                                              thread 0 1 ...    thread 0 ...
//
// supports() guarantees: 32-bit counts and coordinates. Strides in memory are 64-bit.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/store.cuh"

namespace convt3d::cuda::few_channels {

// Axes are {d, h, w}.
struct TapSums {
  const void* output;  // grad_output
  const void* weight;
  void* input;  // the result
  int64_t output_stride[5], weight_stride[5], input_stride[5];
  int input_extent[3], output_extent[3], kernel[3], scale[3], padding[3], dilation[3];
  int ins, outs;  // channels of a group
  Divisor by_in_blocks, by_groups, by_cells_w, by_extent[2];
};

template <typename T, int kCells, int kIns>
__global__ __launch_bounds__(kThreads) void taps_kernel(const __grid_constant__ TapSums p) {
  int place = blockIdx.x;
  const int first_in = divide(&place, p.by_in_blocks) * kIns, group = divide(&place, p.by_groups);
  int cell[3];
  cell[2] = divide(&place, p.by_cells_w) * kCells;
  cell[1] = divide(&place, p.by_extent[1]);
  cell[0] = divide(&place, p.by_extent[0]);
  // Taps begin[axis] .. begin[axis] + count[axis] - 1 hit grad_output on d and h.
  int origin[3], begin[3] = {}, count[3] = {};
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    origin[axis] = cell[axis] * p.scale[axis] - p.padding[axis];
    count[axis] = p.kernel[axis];
    if (axis == 2) continue;
    const int dilation = p.dilation[axis];
    begin[axis] = origin[axis] < 0 ? (dilation - 1 - origin[axis]) / dilation : 0;
    const int room = p.output_extent[axis] - 1 - origin[axis];
    const int end = room < 0 ? 0 : min(p.kernel[axis], room / dilation + 1);
    count[axis] = max(end - begin[axis], 0);
  }
  const int taps = count[0] * count[1] * count[2];
  // From one tap of a thread to its next, in steps on each axis with carries.
  const int line = max(count[1], 1);
  int step[3] = {kThreads / count[2] / line, kThreads / count[2] % line, kThreads % count[2]};
  float sum[kCells][kIns] = {};
#pragma unroll 1
  for (int out = 0; out < p.outs; ++out) {
    const T* const output = static_cast<const T*>(p.output) + place * p.output_stride[0] +
                            (int64_t{group} * p.outs + out) * p.output_stride[1];
    const T* const weight = static_cast<const T*>(p.weight) +
                            (int64_t{group} * p.ins + first_in) * p.weight_stride[0] +
                            out * p.weight_stride[1];
    int w = threadIdx.x % count[2], h = threadIdx.x / count[2] % line;
    int d = threadIdx.x / count[2] / line;
#pragma unroll 2
    for (int tap = threadIdx.x; tap < taps; tap += kThreads) {
      const int tap_d = begin[0] + d, tap_h = begin[1] + h;
      const int first_w = origin[2] + w * p.dilation[2];
      const T* source = output + (origin[0] + tap_d * p.dilation[0]) * p.output_stride[2] +
                        (origin[1] + tap_h * p.dilation[1]) * p.output_stride[3] +
                        first_w * p.output_stride[4];
      const T* factor =
          weight + tap_d * p.weight_stride[2] + tap_h * p.weight_stride[3] + w * p.weight_stride[4];
      float x[kCells], y[kIns];
#pragma unroll
      for (int c = 0; c < kCells; ++c) {
        x[c] = load_or_zero(source + c * p.scale[2] * p.output_stride[4],
                            within(first_w + c * p.scale[2], p.output_extent[2]));
      }
#pragma unroll
      for (int i = 0; i < kIns; ++i) {
        y[i] = load_or_zero(factor + i * p.weight_stride[0], first_in + i < p.ins);
      }
#pragma unroll
      for (int c = 0; c < kCells; ++c) {
#pragma unroll
        for (int i = 0; i < kIns; ++i) sum[c][i] = fmaf(x[c], y[i], sum[c][i]);
      }
      w += step[2];
      h += step[1];
      d += step[0];
      if (w >= count[2]) {
        w -= count[2];
        ++h;
      }
      if (h >= line) {
        h -= line;
        ++d;
      }
    }
  }

  // The sum over all threads: over a warp's by shuffles, then over the warps in their order.
  constexpr int kWarps = kThreads / 32, kSums = kCells * kIns;
  __shared__ float of_warp[kWarps][kSums];
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
    float value = sum[s / kIns][s % kIns];
#pragma unroll
    for (int other = 16; other > 0; other /= 2) {
      value += __shfl_xor_sync(kAllLanes, value, other);
    }
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32][s] = value;
  }
  __syncthreads();  // the sums of all warps are there
  const int in = first_in + threadIdx.x % kIns, own_w = cell[2] + threadIdx.x / kIns;
  if (threadIdx.x >= kSums || in >= p.ins || own_w >= p.input_extent[2]) return;
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) total += of_warp[warp][threadIdx.x];
  static_cast<T*>(
      p.input)[place * p.input_stride[0] + (int64_t{group} * p.ins + in) * p.input_stride[1] +
               cell[0] * p.input_stride[2] + cell[1] * p.input_stride[3] +
               own_w * p.input_stride[4]] = narrow<T>(total);
}

}  // namespace convt3d::cuda::few_channels
