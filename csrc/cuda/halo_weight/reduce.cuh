// SPDX-License-Identifier: BSD-3-Clause
// The pieces of all blocks, added in their order, into the weight's own type and strides.
//
// In a piece the in_channels of one (out_channel, tap), a row, are contiguous; in the weight rows
// are, in either order of out_channel and tap. A block turns kRows x 32 in_channels around:
//
//   8 threads x 4 in_channels   one row of one piece at a time, in float64 (leaves one rounding)
//   kParts such groups          share the pieces of a row, where there are many: neighbours in a
//                               warp, and then all warps
//   shared memory [row][in_channel] -> stores along rows
#pragma once
#include "cuda/common/divisor.cuh"
#include "cuda/common/element.cuh"
#include "cuda/halo_weight/params.h"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::halo_weight {

inline constexpr int kReduceThreads = 256, kReduceChannels = 32;
inline constexpr int kMostReduceRows = 32, kFewReduceRows = 8;

struct Reduce {
  Work work;
  void* result;
  int64_t stride[5];  // in, out, kd, kh, kw
  int in_channels, out_channels, taps;
  int channels, out_width;  // of an instruction, of a row
  bool out_inner;           // out_channels are contiguous, not taps
  int line_first, line;     // the part of a line [tap along w][out_channel] that the weight has
  // Of what is contiguous, lanes of a unit, out_channels of a row, units of a job, the kernel.
  Divisor by_inner, by_lanes, by_width, by_units, by_w, by_h;
  uint16_t lane_of[kMaxTaps];  // unit * lanes + lane
};

struct ReduceRow {
  int64_t at;    // in the weight
  int unit_job;  // below zero: no row
  int unit_row;  // in a piece
};
// A job's blocks.
struct ReduceJob {
  int job, first, last;
};

__device__ __forceinline__ ReduceRow reduce_row(const Reduce& r, int row) {
  if (row >= r.out_channels * r.taps) return {0, -1, 0};
  int quotient = row;
  const int rest = divide(&quotient, r.by_inner);
  const int out = r.out_inner ? rest : quotient, tap = r.out_inner ? quotient : rest;
  int unit_of_part = r.lane_of[tap], part = out, plane = tap;
  const int lane = divide(&unit_of_part, r.by_lanes), of_row = divide(&part, r.by_width);
  int job = part * r.work.part_units + unit_of_part;
  const int unit = divide(&job, r.by_units);
  const int w = divide(&plane, r.by_w), h = divide(&plane, r.by_h);
  const int of_line = w * r.out_channels + out - r.line_first;
  if (of_line < 0 || of_line >= r.line) return {0, -1, 0};
  return {
      (out - r.line_first) * r.stride[1] + plane * r.stride[2] + h * r.stride[3] + w * r.stride[4],
      job, unit * kGroupRows + lane * r.out_width + of_row};
}

template <typename T, int kParts, int kRows>
__global__ void __launch_bounds__(kReduceThreads) reduce_kernel(const __grid_constant__ Reduce r) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kAtOnce = kReduceThreads / 8 / kParts, kPasses = kRows / kAtOnce;
  constexpr int kWarps = kParts > 4 ? kParts / 4 : 1;  // that share a row
  __shared__ ReduceRow rows[kRows];
  __shared__ ReduceJob jobs[kRows][2];  // 32 in_channels are of two jobs at most
  // 1: a column's rows lie in different banks
  __shared__ double sums[kWarps][kRows][kReduceChannels + 1];
  const int first_channel = blockIdx.y * kReduceChannels, first_tile = first_channel / r.channels;
  const int in_group = threadIdx.x % 8 * 4, channel = first_channel + in_group;
  const int in_tile = channel / r.channels, column = channel - in_tile * r.channels;
  if (threadIdx.x < 2 * kRows) {
    const int index = threadIdx.x / 2, tile = threadIdx.x % 2;
    const ReduceRow row = reduce_row(r, blockIdx.x * kRows + index);
    if (tile == 0) rows[index] = row;
    const int job =
        max(row.unit_job, 0) * r.work.in_tiles + min(first_tile + tile, r.work.in_tiles - 1);
    const int box = job * r.work.boxes;
    jobs[index][tile] = {job, r.work.owner(box), r.work.owner(box + r.work.boxes - 1)};
  }
  __syncthreads();                  // rows and jobs are there
  sm90::wait_for_earlier_launch();  // the pieces are there
  const int part = threadIdx.x / 8 % kParts, slot = threadIdx.x / 8 / kParts;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const ReduceRow& row = rows[pass * kAtOnce + slot];
    double sum[4] = {0, 0, 0, 0};
    if (row.unit_job >= 0 && channel < r.in_channels) {
      const ReduceJob job = jobs[pass * kAtOnce + slot][in_tile - first_tile];
      const float* at = r.work.partial + row.unit_row * r.channels + column;
#pragma unroll 4
      for (int block = job.first + part; block <= job.last; block += kParts) {
        const float4 value =
            *reinterpret_cast<const float4*>(at + (int64_t{block} + job.job) * r.work.piece);
        sum[0] += value.x;
        sum[1] += value.y;
        sum[2] += value.z;
        sum[3] += value.w;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int distance = 8; distance < min(8 * kParts, 32); distance *= 2) {
        sum[i] += __shfl_xor_sync(~0u, sum[i], distance);
      }
      if (part % 4 == 0) sums[part / 4][pass * kAtOnce + slot][in_group + i] = sum[i];
    }
  }
  __syncthreads();  // the sums are there
  T* result = static_cast<T*>(r.result);
#pragma unroll 4
  for (int i = threadIdx.x; i < kRows * kReduceChannels; i += kReduceThreads) {
    const int row = i % kRows, of_block = i / kRows;
    if (rows[row].unit_job < 0 || first_channel + of_block >= r.in_channels) continue;
    double sum = sums[0][row][of_block];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += sums[w][row][of_block];
    result[(first_channel + of_block) * r.stride[0] + rows[row].at] =
        narrow<T>(static_cast<float>(sum));
  }
#endif
}

}  // namespace convt3d::cuda::halo_weight
