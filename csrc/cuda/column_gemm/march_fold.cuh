// SPDX-License-Identifier: BSD-3-Clause
// From a plane's columns to the outputs of the cells that it completes, and to what it leaves for
// the next planes.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/box.cuh"
#include "cuda/column_gemm/fold.cuh"
#include "cuda/column_gemm/params.h"

namespace convt3d::cuda::column_gemm {

// What a thread reads and writes at once.
template <int n>
struct alignas(n < 4 ? 4 * n : 16) Carried {
  float value[n];
};

// A thread's cell of a box, with a residue of d: the same of every plane. On w, o + p = s * i + t:
// the taps that meet a position of the input, as bits [output][tap], and where what they give is,
// from the cell's line in the first column of their line of taps.
struct Job {
  int line, cell, residue_d;
  unsigned there;
  int from[4];
};

__device__ __forceinline__ Job find_job(const MarchParams& p, const Box& box) {
  const int stride = p.stride[2], taps = stride == 2 ? 2 : 3;
  const int index = threadIdx.x;
  Job job{};
  job.residue_d = divide(index, p.cell_divisor);
  const int rest = index - job.residue_d * (p.cells[1] * p.cells[2]);
  job.line = divide(rest, p.line_divisor);
  job.cell = box.w + rest - job.line * p.cells[2];
  if (index >= p.jobs || job.cell >= p.all_cells_w) return job;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int e = i / taps, j = i - e * taps, cell = (e + p.padding[2]) / stride;
    const int tap = e + p.padding[2] - cell * stride + j * stride;
    const int position = job.cell + cell - j;
    if (e < stride && tap < p.kernel[2] && within(position, p.input_extent[2])) {
      job.there |= 1u << i;
    }
    job.from[i] = tap * p.out_channels * p.sum_pitch + position - box.first_w +
                  (job.line + p.shifts[1] - 1) * p.line_rows;
  }
  return job;
}

// Cells of plane i and the shifts[0] - 1 planes after it read position plane i, through the taps
// s*j + r. Nobody else touches a thread's part of `carry`: the sums of cells that later planes
// complete, [shift][job][output]. The first planes of a box find there what another has left, for
// cells that are not stored. kStride and kTaps: of h and w, the taps of an output at most. `plane`:
// of positions, and of the cells that it completes.
template <Precision kPrecision, int kStride, int kTaps, int kOuts>
__device__ __forceinline__ void fold_plane(const MarchParams& p, const Box& box, const Job& job,
                                           int plane, const float* sums, float* carry,
                                           const float* bias) {
  constexpr int kCell = kStride * kOuts, kValues = kStride * kCell;
  const bool inside = within(plane, p.input_extent[0]);
  const int line_pitch = p.kernel[2] * kOuts * p.sum_pitch;
  auto* kept = reinterpret_cast<Carried<kValues>*>(carry) + threadIdx.x;
#pragma unroll 1
  for (int shift_d = 0; shift_d < p.shifts[0]; ++shift_d, kept += p.jobs) {
    Carried<kValues> part = {};
    const int tap_d = shift_d * p.stride[0] + job.residue_d;
    if (inside && tap_d < p.kernel[0]) {
      const float* const from = sums + tap_d * p.kernel[1] * line_pitch;
#pragma unroll
      for (int tap_h = 0; tap_h < kStride * kTaps; ++tap_h) {
        if (tap_h >= p.kernel[1]) break;
        // Lines outside the input are zeros.
        const float* const line_from = from + tap_h * line_pitch - tap_h / kStride * p.line_rows;
#pragma unroll
        for (int i = 0; i < kStride * kTaps; ++i) {
          if ((job.there >> i & 1) == 0) continue;
#pragma unroll
          for (int v = 0; v < kOuts; ++v) {
            part.value[tap_h % kStride * kCell + i / kTaps * kOuts + v] +=
                line_from[job.from[i] + v * p.sum_pitch];
          }
        }
      }
    }
    if (shift_d + 1 < p.shifts[0]) {
      const Carried<kValues> before = *kept;
#pragma unroll
      for (int i = 0; i < kValues; ++i) part.value[i] += before.value[i];
    }
    if (shift_d != 0) {
      kept[-p.jobs] = part;
      continue;
    }
    const int d = plane * p.stride[0] + job.residue_d - p.padding[0];
    const int h = (box.h + job.line) * kStride - p.padding[1];
    if (plane < box.d || !within(d, p.output_extent[0])) continue;
    [[maybe_unused]] unsigned again = 0;
#pragma unroll
    for (int r = 0; r < kStride; ++r) {
      float sum[kCell];
#pragma unroll
      for (int i = 0; i < kCell; ++i) sum[i] = part.value[r * kCell + i];
      if (!within(h + r, p.output_extent[1])) continue;
      again |= store_cell<kPrecision, kStride, kOuts>(p, box.n, bias, d, h + r, job.cell, sum)
               << r * kCell;
    }
    if constexpr (kPrecision == Precision::fp32) {
      repair<kStride, kOuts>(p, box.n, bias, d, h, job.cell, again);
    }
  }
}

template <Precision kPrecision>
__device__ __forceinline__ void fold_columns(const MarchParams& p, const Box& box, const Job& job,
                                             int plane, const float* sums, float* carry,
                                             const float* bias) {
  if (static_cast<int>(threadIdx.x) >= p.jobs || job.cell >= p.all_cells_w) return;
  if (p.stride[2] == 2 && p.out_channels == 1) {
    fold_plane<kPrecision, 2, 2, 1>(p, box, job, plane, sums, carry, bias);
  } else if (p.stride[2] == 2) {
    fold_plane<kPrecision, 2, 2, 2>(p, box, job, plane, sums, carry, bias);
  } else if (p.out_channels == 1) {
    fold_plane<kPrecision, 1, 3, 1>(p, box, job, plane, sums, carry, bias);
  } else {
    fold_plane<kPrecision, 1, 3, 2>(p, box, job, plane, sums, carry, bias);
  }
}

}  // namespace convt3d::cuda::column_gemm
