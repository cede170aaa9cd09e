// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of very many taps over few positions, on the tensor cores.
//
//   weight[ci, co, t] = sum over n, i of input[n, ci, i] * output[n, co, s*i + d*t - p]
//
//   M = taps of the out channels, 128 of a block      N = in channels      K = positions (n, i)
//
//             chunk of positions ->                  chunk of positions ->
//           +----------------------+               +----------------------+
//  (co, t)  | X, gathered: 8 taps  |  16 rows    ci| input                |  all warps read all
//           | x 4 positions a warp |  of a warp    |                      |
//           +----------------------+               +----------------------+
//
// No split, no workspace: a block sums over all positions. A sum that is not finite, or in float32
// below 2**-90, is computed once more by the formula.
//
// gathered_fits() guarantees: at most kFewPositions positions, 32-bit counts and coordinates, at
// most 511 taps on an axis. Strides in memory are 64-bit.
#pragma once
#include "cuda/common/resident.h"
#include "cuda/few_channels/gathered_rows.cuh"

namespace convt3d::cuda::few_channels {

// One weight from its sum, or by its formula.
template <typename T>
__device__ __forceinline__ void put_weight(const GatheredSums& p, int group, int in,
                                           const TapColumn& column, float sum) {
  const int64_t channel = int64_t{group} * p.ins + in;
  constexpr bool kSplit = sizeof(T) == 4;
  if (is_doubtful<kSplit>(sum)) {
    const char* const output = static_cast<const char*>(p.output) +
                               int64_t{group} * p.outs * p.output_bytes[1] + column.source;
    const T* const input = static_cast<const T*>(p.other) + channel * p.input_stride[1];
    sum = 0;
#pragma unroll 1
    for (int i = 0; i < p.positions; ++i) {
      int64_t own;
      const TapRow row = find_row(p, i, &own);
      if (!hits(row, column)) continue;
      sum = fmaf(widen(*reinterpret_cast<const T*>(output + row.source)), widen(input[own]), sum);
    }
  }
  static_cast<T*>(p.result)[channel * p.weight_stride[0] + column.weight] = narrow<T>(sum);
}

template <typename T, int kPairs>
__global__ __launch_bounds__(kTapThreads, 2) void gathered_weight_kernel(
    const __grid_constant__ GatheredSums p) {
  constexpr int kDepth = kTapChunk / sizeof(T), kIns = 16 * kPairs;
  constexpr int kStep = kTapThreads / kDepth;  // in channels that the block loads at once
  constexpr int kRounds = kDepth / 2 / kTapLoads, kYLoads = kIns / kStep / kRounds;
  __shared__ TapRow rows[kFewPositions];
  __shared__ int64_t inputs[kFewPositions];
  __shared__ __align__(128) unsigned char x[gathered_shared_bytes(kIns)];
  unsigned char* const y = x + kTapRows * kTapPitch;
  int block = blockIdx.x;
  const int first_in = divide(&block, p.by_in_tiles) * kIns, group = divide(&block, p.by_groups);
  const int first_tap = block * kTapRows;
  const int chunks = (p.positions + kDepth - 1) / kDepth;
  // Rows up to a whole chunk: those behind the last hit nothing.
  for (int i = threadIdx.x; i < chunks * kDepth; i += kTapThreads) {
    rows[i] = find_row(p, i, inputs + i);
  }
  const char* const output =
      static_cast<const char*>(p.output) + int64_t{group} * p.outs * p.output_bytes[1];
  const T* const input =
      static_cast<const T*>(p.other) + (int64_t{group} * p.ins + first_in) * p.input_stride[1];
  const int own_ins = min(p.ins - first_in, kIns), pairs = (own_ins + 15) / 16;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int position = threadIdx.x % kDepth, first_in_row = threadIdx.x / kDepth;
  // A warp stages its own 16 taps: 8 of them, and 4 positions, at once.
  const int tap = warp * 16 + lane % 8;
  const TapColumn column[2] = {find_column(p, first_tap + tap),
                               find_column(p, first_tap + tap + 8)};
  const char* const source[2] = {output + column[0].source, output + column[1].source};
  float sums[kPairs][2][4] = {};
  __syncthreads();  // the rows are there
#pragma unroll 1
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const TapRow* const own = rows + chunk * kDepth;
    if (chunk > 0) __syncthreads();  // the last chunk has been multiplied
    const bool there = chunk * kDepth + position < p.positions;
    const T* factor = input + inputs[chunk * kDepth + position] + first_in_row * p.input_stride[1];
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
      Bits<T> of_y[kYLoads], of_x[kTapLoads];
#pragma unroll
      for (int i = 0; i < kYLoads; ++i) {
        const int in = first_in_row + (round * kYLoads + i) * kStep;
        of_y[i] = load_bits<T>(factor, there && in < own_ins);
        factor += kStep * p.input_stride[1];
      }
#pragma unroll
      for (int i = 0; i < kTapLoads; ++i) {
        const TapRow& row = own[(round * kTapLoads + i) / 2 * 4 + lane / 8];
        of_x[i] = load_bits<T>(source[i % 2] + row.source, hits(row, column[i % 2]));
      }
#pragma unroll
      for (int i = 0; i < kYLoads; ++i) {
        const int in = first_in_row + (round * kYLoads + i) * kStep;
        reinterpret_cast<Bits<T>*>(y + in * kTapPitch)[position] = of_y[i];
      }
#pragma unroll
      for (int i = 0; i < kTapLoads; ++i) {
        const int at = (round * kTapLoads + i) / 2 * 4 + lane / 8;
        reinterpret_cast<Bits<T>*>(x + (tap + i % 2 * 8) * kTapPitch)[at] = of_x[i];
      }
    }
    __syncthreads();  // the chunk is there
    multiply_chunk<T, kPairs>(shared_address(x + warp * 16 * kTapPitch), shared_address(y), pairs,
                              sums);
  }
  auto* const staged = reinterpret_cast<float*>(x);
  stage_sums<kPairs>(sums, staged);
  static_assert(kTapThreads % kTapRows == 0);
  const int row = threadIdx.x % kTapRows;
  const TapColumn result = find_column(p, first_tap + row);
  if (result.taps == kNoTap) return;
#pragma unroll 1
  for (int in = threadIdx.x / kTapRows; in < own_ins; in += kTapThreads / kTapRows) {
    put_weight<T>(p, group, first_in + in, result, staged[in * kTapSumsPitch + row]);
  }
}

}  // namespace convt3d::cuda::few_channels
