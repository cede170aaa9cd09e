// SPDX-License-Identifier: BSD-3-Clause
// grad_weight over few positions, of many taps.
//
//   weight[ci, co, t] = sum over n, i of input[n, ci, i] * grad_output[n, co, s * i + d * t - p]
//
// Neighbouring threads take neighbouring taps of one out channel, and kTapsIns in channels each,
// whose inputs wait in shared memory with the places of all positions:
//
//                    taps ->
//   position   +---+---+---+---+          a row of grad_output for each position: loaded once
//      |       | x | x | x | x |          for kTapsIns sums
//      v       +---+---+---+---+
//
// No split, no workspace: a thread writes what it has. choose() guarantees: 32-bit coordinates, at
// most kFewPositions positions, fewer than 2**30 weights.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/direct/tuning.h"

namespace convt3d::cuda::direct {

struct TapsWeight {
  const void* input;
  const void* output;  // grad_output
  void* weight;
  int64_t input_stride[5], output_stride[5], weight_stride[5];
  int input_extent[3], output_extent[3], kernel[3], scale[3], padding[3], dilation[3];
  int positions;
  int ins, outs;             // channels of a group
  int in_tiles, tap_blocks;  // of kTapsIns; of kTapsThreads
};

// What does not depend on the tap: s * i - p, and where grad_output has that.
struct TapsPosition {
  int at[3];
  int64_t offset;
};

template <typename T>
__global__ __launch_bounds__(kTapsThreads,
                             2) void taps_weight_kernel(const __grid_constant__ TapsWeight p) {
  using Sum = Accumulator<T>;
  __shared__ TapsPosition place[kFewPositions];
  __shared__ __align__(16) Sum input[kFewPositions][kTapsIns];
  int block = blockIdx.x;
  const int first_tap = block % p.tap_blocks * kTapsThreads;
  block /= p.tap_blocks;
  const int first_in = block % p.in_tiles * kTapsIns;
  block /= p.in_tiles;
  const int out = block % p.outs, group = block / p.outs;
  for (int at = threadIdx.x; at < p.positions * kTapsIns; at += kTapsThreads) {
    const int position = at / kTapsIns, in = first_in + at % kTapsIns;
    int rest = position, own[3];
    TapsPosition there{};
    int64_t offset = 0;
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      const int next = rest / p.input_extent[axis];
      own[axis] = rest - next * p.input_extent[axis];
      rest = next;
      there.at[axis] = own[axis] * p.scale[axis] - p.padding[axis];
      there.offset += there.at[axis] * p.output_stride[2 + axis];
      offset += own[axis] * p.input_stride[2 + axis];
    }
    there.offset += rest * p.output_stride[0];
    if (at % kTapsIns == 0) place[position] = there;
    offset += rest * p.input_stride[0] + (int64_t{group} * p.ins + in) * p.input_stride[1];
    input[position][at % kTapsIns] =
        load_or_zero(static_cast<const T*>(p.input) + offset, in < p.ins);
  }
  __syncthreads();  // places and inputs are there
  int rest = first_tap + static_cast<int>(threadIdx.x);
  const int w = rest % p.kernel[2];
  rest /= p.kernel[2];
  const int h = rest % p.kernel[1], d = rest / p.kernel[1];
  if (d >= p.kernel[0]) return;
  const int tap[3] = {d * p.dilation[0], h * p.dilation[1], w * p.dilation[2]};
  const T* const source =
      static_cast<const T*>(p.output) + (int64_t{group} * p.outs + out) * p.output_stride[1] +
      tap[0] * p.output_stride[2] + tap[1] * p.output_stride[3] + tap[2] * p.output_stride[4];
  Sum total[kTapsIns] = {};
#pragma unroll 1
  for (int first = 0; first < p.positions; first += kRunK) {
    Sum sum[kTapsIns] = {};
    const int last = min(p.positions, first + kRunK);
#pragma unroll 4
    for (int position = first; position < last; ++position) {
      const TapsPosition& own = place[position];
      bool there = true;
#pragma unroll
      for (int axis = 0; axis < 3; ++axis) {
        there &= static_cast<unsigned>(own.at[axis] + tap[axis]) <
                 static_cast<unsigned>(p.output_extent[axis]);
      }
      const Sum value = load_or_zero(source + own.offset, there);
#pragma unroll
      for (int i = 0; i < kTapsIns; ++i) sum[i] += value * input[position][i];
    }
#pragma unroll
    for (int i = 0; i < kTapsIns; ++i) total[i] += sum[i];
  }
  T* const weight = static_cast<T*>(p.weight) +
                    (int64_t{group} * p.ins + first_in) * p.weight_stride[0] +
                    out * p.weight_stride[1] + d * p.weight_stride[2] + h * p.weight_stride[3] +
                    w * p.weight_stride[4];
#pragma unroll
  for (int i = 0; i < kTapsIns; ++i) {
    if (first_in + i < p.ins) weight[i * p.weight_stride[0]] = narrow<T>(total[i]);
  }
}

}  // namespace convt3d::cuda::direct
