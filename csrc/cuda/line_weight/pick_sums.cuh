// SPDX-License-Identifier: BSD-3-Clause
// What the kernels of pick_config.h are told, and how they hand over their sums: parts of a job's
// sums, one of each split, as an instruction leaves them in registers.
#pragma once
#include <cuda.h>

#include <cstdint>

#include "cuda/common/divisor.cuh"
#include "cuda/common/element.cuh"
#include "cuda/line_weight/pick_config.h"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::line_weight {

struct PickParams {
  CUtensorMap input, output_map;  // {position, channel, n}; grad_output's of point_kernel.cuh alone
  const void* output;             // grad_output
  void* weight;
  float* partial;                        // [split][job][four sums][thread]
  int64_t output_batch, output_channel;  // elements, as all that follow
  int output_position[3], output_tap[2];
  int64_t weight_stride[5];
  int in_channels, lines, volume;
  int job_channels, job_lines, taps;  // of a job, and along w
  int stages, stage_bytes, folds;     // point_kernel.cuh
  Divisor image_tiles, plane, line;
  Divisor line_tiles, jobs, kernel_d, kernel_h;
  int tiles, splits;
};

// A line of grad_output: out_channel and taps along d and h.
struct PickLine {
  int channel, d, h;

  __device__ __forceinline__ PickLine(const PickParams& p, int line) {
    h = divide(&line, p.kernel_h);
    d = divide(&line, p.kernel_d);
    channel = line;
  }
};

// What a block, or a block's sums, are of.
struct PickJob {
  int first_in, first_line;

  __device__ __forceinline__ PickJob(const PickParams& p, int job) {
    first_line = divide(&job, p.line_tiles) * p.job_lines;
    first_in = job * p.job_channels;
  }
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// This block's sums: those of the rows that exist, whole warps of them.
__device__ __forceinline__ void store_picked(const PickParams& p,
                                             const float (&sum)[kPickChannels / 2]) {
  const int thread = static_cast<int>(threadIdx.x), rows = pick_rows(p.job_lines * p.taps);
  if (thread / 32 * 16 >= rows) return;
  float4* const to =
      reinterpret_cast<float4*>(p.partial) + int64_t{blockIdx.x} * pick_fours(rows) + thread;
#pragma unroll
  for (int i = 0; i < kPickChannels / 8; ++i) {
    if (8 * i >= p.job_channels) break;
    to[i * (2 * rows)] = make_float4(sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]);
  }
}
#endif

inline constexpr int kPickReduceWarps = 32;

// The sums of all splits, added in a fixed order. A block has four sums of each thread of a warp;
// its warps share the splits.
template <typename T>
__global__ void __launch_bounds__(32 * kPickReduceWarps)
    pick_reduce_kernel(const __grid_constant__ PickParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  const int rows = pick_rows(p.job_lines * p.taps), row_warps = rows / 16;
  const int job_blocks = row_warps * (p.job_channels / 8);
  __shared__ double warp_sums[kPickReduceWarps][4][32];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int of_job = static_cast<int>(blockIdx.x) % job_blocks;
  const int job = static_cast<int>(blockIdx.x) / job_blocks;
  const int four = of_job / row_warps, of_warp = of_job % row_warps;
  const auto jobs = static_cast<int>(p.jobs.value);
  double sum[4] = {};  // leaves one rounding
  sm90::wait_for_earlier_launch();
  const float4* const from = reinterpret_cast<const float4*>(p.partial) +
                             int64_t{job} * pick_fours(rows) + four * (2 * rows) + of_warp * 32 +
                             lane;
#pragma unroll 8
  for (int split = warp; split < p.splits; split += kPickReduceWarps) {
    const float4 part = __ldcg(from + int64_t{split} * jobs * pick_fours(rows));
    sum[0] += part.x;
    sum[1] += part.y;
    sum[2] += part.z;
    sum[3] += part.w;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) warp_sums[warp][i][lane] = sum[i];
  __syncthreads();  // all warps have written
  if (warp >= 4) return;
  double all = 0;
#pragma unroll
  for (int i = 0; i < kPickReduceWarps; ++i) all += warp_sums[i][warp][lane];
  const PickJob at(p, job);
  const int row = of_warp * 16 + lane / 4 + warp / 2 * 8, of_row = row / p.taps;
  const int tap = row - of_row * p.taps;
  const int in = at.first_in + four * 8 + lane % 4 * 2 + warp % 2;
  const int number = at.first_line + of_row;
  if (of_row >= p.job_lines || number >= p.lines || in >= p.in_channels) return;
  const PickLine line(p, number);
  const auto& s = p.weight_stride;
  static_cast<T*>(
      p.weight)[in * s[0] + line.channel * s[1] + line.d * s[2] + line.h * s[3] + tap * s[4]] =
      narrow<T>(static_cast<float>(all));
#endif
}

}  // namespace convt3d::cuda::line_weight
