// SPDX-License-Identifier: BSD-3-Clause
// grad_weight over few positions, of many taps.
//
//   weight[ci, co, t] = sum over n, i of input[n, ci, i] * grad_output[n, co, s * i + d * t - p]
//
// Neighbouring threads take neighbouring taps of one out channel, and kIns in channels each, whose
// inputs wait in shared memory with the places of all positions. kTapsThreads / kTaps threads share
// a tap's positions, each every so many-th of them, and their sums are added up in a fixed order:
//
//                    taps ->
//   position   +---+---+---+---+          a row of grad_output for each position: loaded once
//      |       | x | x | x | x |          for kIns sums
//      v       +---+---+---+---+
//
// No split, no workspace: a thread writes what it has. choose() guarantees: 32-bit coordinates, at
// most kFewPositions (kIns 1: kFewPositionsAlone) positions, fewer than 2**30 weights.
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
  int in_tiles, tap_blocks;  // of kIns; of kTaps
};

// What does not depend on the tap: s * i - p, and where grad_output and the input have that.
struct TapsPosition {
  int at[3];
  int64_t offset, input;
};

// Sums of a position's in channels, padded to other banks.
template <int kIns>
inline constexpr int kTapsPitch = kIns == 1 ? 1 : kIns + 4;

// Shared: the positions, then their inputs, where later the threads' sums meet.
template <typename T, int kIns>
constexpr int taps_shared_bytes(int positions) {
  const int inputs = positions * kTapsPitch<kIns>;
  constexpr int kSums = kTapsThreads / 2 * kIns;
  return positions * static_cast<int>(sizeof(TapsPosition)) +
         (inputs > kSums ? inputs : kSums) * static_cast<int>(sizeof(Accumulator<T>));
}

__device__ __forceinline__ TapsPosition find_position(const TapsWeight& p, int position) {
  TapsPosition there{};
  int rest = position;
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    const int next = rest / p.input_extent[axis], own = rest - next * p.input_extent[axis];
    rest = next;
    there.at[axis] = own * p.scale[axis] - p.padding[axis];
    there.offset += there.at[axis] * p.output_stride[2 + axis];
    there.input += own * p.input_stride[2 + axis];
  }
  there.offset += rest * p.output_stride[0];
  there.input += rest * p.input_stride[0];
  return there;
}

// The upper half of the slices hands its sums to the lower one, until one slice has all.
template <int kTaps, typename Sum, int kIns>
__device__ __forceinline__ void add_slices(Sum* exchange, int lane, int slice, Sum (&sum)[kIns]) {
#pragma unroll
  for (int half = kTapsThreads / kTaps / 2; half > 0; half /= 2) {
    __syncthreads();  // what the exchange held is read
    if (slice >= half && slice < 2 * half) {
#pragma unroll
      for (int i = 0; i < kIns; ++i) {
        exchange[((slice - half) * kIns + i) * kTaps + lane] = sum[i];
      }
    }
    __syncthreads();  // the upper half's sums are there
    if (slice < half) {
#pragma unroll
      for (int i = 0; i < kIns; ++i) sum[i] += exchange[(slice * kIns + i) * kTaps + lane];
    }
  }
}

template <typename T, int kIns, int kTaps>
__global__ __launch_bounds__(kTapsThreads, sizeof(T) == 8 ? 1 : 2) void taps_weight_kernel(
    const __grid_constant__ TapsWeight p) {
  using Sum = Accumulator<T>;
  constexpr int kThreads = kTapsThreads, kWarps = kThreads / 32, kSlices = kThreads / kTaps;
  constexpr int kPitch = kTapsPitch<kIns>;
  extern __shared__ __align__(16) unsigned char taps_shared[];
  auto* const place = reinterpret_cast<TapsPosition*>(taps_shared);
  auto* const input = reinterpret_cast<Sum*>(place + p.positions);
  const int lane = threadIdx.x % kTaps, slice = threadIdx.x / kTaps;
  int block = blockIdx.x;
  const int first_tap = block % p.tap_blocks * kTaps;
  block /= p.tap_blocks;
  const int first_in = block % p.in_tiles * kIns;
  block /= p.in_tiles;
  const int out = block % p.outs, group = block / p.outs;
  for (int i = threadIdx.x; i < p.positions; i += kThreads) place[i] = find_position(p, i);
  __syncthreads();  // the places are there
  int rest = first_tap + lane;
  const int w = rest % p.kernel[2];
  rest /= p.kernel[2];
  const int h = rest % p.kernel[1], d = rest / p.kernel[1];
  const bool own = d < p.kernel[0];
  const int tap[3] = {d * p.dilation[0], h * p.dilation[1], w * p.dilation[2]};
  const T* const source =
      static_cast<const T*>(p.output) + (int64_t{group} * p.outs + out) * p.output_stride[1] +
      tap[0] * p.output_stride[2] + tap[1] * p.output_stride[3] + tap[2] * p.output_stride[4];
  const auto load = [&](int position) {
    bool there = own && position < p.positions;
    const TapsPosition& at = place[there ? position : 0];
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      there &= static_cast<unsigned>(at.at[axis] + tap[axis]) <
               static_cast<unsigned>(p.output_extent[axis]);
    }
    return load_or_zero(source + at.offset, there);
  };
  // The first of them are under way while the inputs are.
  constexpr int kAhead = 4;
  Sum ahead[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) ahead[i] = load(slice + i * kSlices);
  // A warp takes in channels of its own, its lanes neighbouring positions.
  for (int i = threadIdx.x / 32 % kIns; i < kIns; i += kWarps) {
    constexpr int kLanes = kIns < kWarps ? kThreads / kIns : 32;
    const int first = kIns < kWarps ? threadIdx.x / 32 / kIns * 32 + threadIdx.x % 32
                                    : static_cast<int>(threadIdx.x % 32);
    const T* const channel = static_cast<const T*>(p.input) +
                             (int64_t{group} * p.ins + first_in + i) * p.input_stride[1];
#pragma unroll 4
    for (int position = first; position < p.positions; position += kLanes) {
      input[position * kPitch + i] =
          load_or_zero(channel + place[position].input, first_in + i < p.ins);
    }
  }
  __syncthreads();  // the inputs are there
  Sum sum[kIns] = {};
  for (int first = slice; first < p.positions; first += kAhead * kSlices) {
    Sum value[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) value[i] = ahead[i];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) ahead[i] = load(first + (kAhead + i) * kSlices);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int position = first + i * kSlices;
      if (position >= p.positions) break;
#pragma unroll
      for (int j = 0; j < kIns; ++j) sum[j] += value[i] * input[position * kPitch + j];
    }
  }
  add_slices<kTaps>(input, lane, slice, sum);
  if (slice > 0 || !own) return;
  T* const weight = static_cast<T*>(p.weight) +
                    (int64_t{group} * p.ins + first_in) * p.weight_stride[0] +
                    out * p.weight_stride[1] + d * p.weight_stride[2] + h * p.weight_stride[3] +
                    w * p.weight_stride[4];
#pragma unroll
  for (int i = 0; i < kIns; ++i) {
    if (first_in + i < p.ins) weight[i * p.weight_stride[0]] = narrow<T>(sum[i]);
  }
}

}  // namespace convt3d::cuda::direct
