// SPDX-License-Identifier: BSD-3-Clause
// grad_input of kernels with very many taps, on the tensor cores.
//
//   input[n, ci, i] = sum over co, t of output[n, co, s*i + d*t - p] * weight[ci, co, t]
//
//   M = positions (n, i), 128 of a block      N = in channels      K = taps x out channels
//
//              chunk of taps ->                        chunk of taps ->
//           +---------------------+                 +---------------------+
//   (n, i)  | X, gathered: lanes  |  16 rows      ci| weight              |  all warps read all
//           | are taps            |  of a warp      |                     |
//           +---------------------+                 +---------------------+
//
// Taps are cut into splits, whose parts a second launch adds up in their order. A sum that is not
// finite, or in float32 below 2**-90, is computed once more by the formula: tensor cores multiply
// the zeros that stand for no element, and split numbers lose infinities.
//
// gathered_fits() guarantees: 32-bit counts and coordinates, at most 511 taps on an axis. Strides
// in memory are 64-bit.
#pragma once
#include "cuda/few_channels/gathered_rows.cuh"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::few_channels {

// One result from its sum, or by its formula.
template <typename T>
__device__ __forceinline__ void put_input(const GatheredSums& p, int channel, int position,
                                          float sum) {
  int64_t input;
  const TapRow row = find_row(p, position, &input);
  constexpr bool kSplit = sizeof(T) == 4;
  if (is_doubtful<kSplit>(sum)) {
    const int group = channel / p.ins;
    const char* const output = static_cast<const char*>(p.output) +
                               int64_t{group} * p.outs * p.output_bytes[1] + row.source;
    const T* const weight = static_cast<const T*>(p.other) + channel * p.weight_stride[0];
    sum = 0;
#pragma unroll 1
    for (int at = 0; at < p.depth; ++at) {
      const TapColumn column = find_column(p, at);
      if (!hits(row, column)) continue;
      sum = fmaf(widen(*reinterpret_cast<const T*>(output + column.source)),
                 widen(weight[column.weight]), sum);
    }
  }
  static_cast<T*>(p.result)[input + channel * p.input_stride[1]] = narrow<T>(sum);
}

template <typename T, int kPairs>
__global__ __launch_bounds__(kTapThreads,
                             2) void gathered_input_kernel(const __grid_constant__ GatheredSums p) {
  constexpr int kDepth = kTapChunk / sizeof(T), kIns = 16 * kPairs;
  constexpr int kStep = kTapThreads / kDepth;  // rows that the block loads at once
  constexpr int kRounds = kTapRows / kStep / kTapLoads, kYLoads = kIns / kStep / kRounds;
  __shared__ TapRow rows[kTapRows];
  __shared__ __align__(128) unsigned char x[gathered_shared_bytes(kIns)];
  unsigned char* const y = x + kTapRows * kTapPitch;
  sm90::let_next_launch_start();
  int block = blockIdx.x;
  const int split = divide(&block, p.by_splits);
  const int first_in = divide(&block, p.by_in_tiles) * kIns, group = divide(&block, p.by_groups);
  const int first_position = block * kTapRows;
  for (int i = threadIdx.x; i < kTapRows; i += kTapThreads) {
    int64_t input;
    rows[i] = find_row(p, first_position + i, &input);
  }
  const char* const output =
      static_cast<const char*>(p.output) + int64_t{group} * p.outs * p.output_bytes[1];
  const T* const weight =
      static_cast<const T*>(p.other) + (int64_t{group} * p.ins + first_in) * p.weight_stride[0];
  const int own_ins = min(p.ins - first_in, kIns), pairs = (own_ins + 15) / 16;
  const int lane = threadIdx.x % kDepth, first_row = threadIdx.x / kDepth;
  const int warp = threadIdx.x / 32;
  float sums[kPairs][2][4] = {};
  const int chunks = (p.depth + kDepth - 1) / kDepth;
  const int end = min(chunks, (split + 1) * p.own_chunks);
#pragma unroll 1
  for (int chunk = split * p.own_chunks; chunk < end; ++chunk) {
    const TapColumn column = find_column(p, chunk * kDepth + lane);
    const bool there = column.taps != kNoTap;
    const char* const source = output + column.source;
    const T* factor = weight + column.weight + first_row * p.weight_stride[0];
    __syncthreads();  // the rows are there; the last chunk has been multiplied
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
      Bits<T> of_y[kYLoads], of_x[kTapLoads];
#pragma unroll
      for (int i = 0; i < kYLoads; ++i) {
        const int in = first_row + (round * kYLoads + i) * kStep;
        of_y[i] = load_bits<T>(factor, there && in < own_ins);
        factor += kStep * p.weight_stride[0];
      }
#pragma unroll
      for (int i = 0; i < kTapLoads; ++i) {
        const TapRow& row = rows[first_row + (round * kTapLoads + i) * kStep];
        of_x[i] = load_bits<T>(source + row.source, hits(row, column));
      }
#pragma unroll
      for (int i = 0; i < kYLoads; ++i) {
        const int in = first_row + (round * kYLoads + i) * kStep;
        reinterpret_cast<Bits<T>*>(y + in * kTapPitch)[lane] = of_y[i];
      }
#pragma unroll
      for (int i = 0; i < kTapLoads; ++i) {
        const int at = first_row + (round * kTapLoads + i) * kStep;
        reinterpret_cast<Bits<T>*>(x + at * kTapPitch)[lane] = of_x[i];
      }
    }
    __syncthreads();  // the chunk is there
    multiply_chunk<T, kPairs>(shared_address(x + warp * 16 * kTapPitch), shared_address(y), pairs,
                              sums);
  }
  auto* const staged = reinterpret_cast<float*>(x);
  stage_sums<kPairs>(sums, staged);
#pragma unroll 1
  for (int i = threadIdx.x; i < own_ins * kTapRows; i += kTapThreads) {
    const int in = i / kTapRows, position = first_position + i % kTapRows;
    if (position >= p.positions) continue;
    const int channel = group * p.ins + first_in + in;
    const float sum = staged[in * kTapSumsPitch + i % kTapRows];
    if (p.parts == nullptr) {
      put_input<T>(p, channel, position, sum);
    } else {
      p.parts[(int64_t{split} * p.channels + channel) * p.positions + position] = sum;
    }
  }
}

// Adds the parts of all splits. kTapSlices threads share those of a result, every kTapSlices-th of
// them; their sums are added in a fixed order. Neighbouring threads are neighbours on positions.
template <typename T>
__global__ __launch_bounds__(kThreads) void add_taps_kernel(
    const __grid_constant__ GatheredSums p) {
  __shared__ double of_slice[kTapSlices][kTapResults];
  const int lane = threadIdx.x % kTapResults, slice = threadIdx.x / kTapResults;
  int channel = blockIdx.x * kTapResults + lane;
  const int position = divide(&channel, p.by_positions);
  sm90::wait_for_earlier_launch();
  double total = 0;  // leaves one rounding
  if (channel < p.channels) {
    const int64_t results = int64_t{p.channels} * p.positions;
    const float* const parts = p.parts + int64_t{channel} * p.positions + position;
#pragma unroll 8
    for (int split = slice; split < p.splits; split += kTapSlices) total += parts[split * results];
  }
  of_slice[slice][lane] = total;
  __syncthreads();  // the sums of all slices are there
  if (slice > 0 || channel >= p.channels) return;
#pragma unroll
  for (int other = 1; other < kTapSlices; ++other) total += of_slice[other][lane];
  put_input<T>(p, channel, position, static_cast<float>(total));
}

}  // namespace convt3d::cuda::few_channels
