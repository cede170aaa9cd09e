// SPDX-License-Identifier: BSD-3-Clause
// From the sums of a part's columns to its outputs: a cell's outputs on w add up what the positions
// around it give through their taps, in the order of the taps.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/box.cuh"
#include "cuda/column_gemm/params.h"
#include "cuda/common/doubtful.cuh"
#include "cuda/common/element.cuh"

namespace convt3d::cuda::column_gemm {

// One output in plain float32.
__device__ __noinline__ inline float exact_sum(const ForwardParams& p, int n, int co, int d, int h,
                                               int w) {
  const auto* input = static_cast<const float*>(p.input) + n * p.input_stride[0];
  const auto* weight = static_cast<const float*>(p.weight) + co * p.weight_stride[1];
  float sum = 0;
  for (int tap = 0; tap < p.kernel[0] * p.kernel[1] * p.kernel[2]; ++tap) {
    const int t[3] = {tap / p.kernel[2] / p.kernel[1], tap / p.kernel[2] % p.kernel[1],
                      tap % p.kernel[2]};
    const int o[3] = {d, h, w};
    int64_t from = 0, with = 0;
    bool inside = true;
    for (int a = 0; a < 3; ++a) {
      const int scaled = o[a] + p.padding[a] - t[a], i = scaled / p.stride[a];
      inside = inside && scaled >= 0 && scaled % p.stride[a] == 0 && i < p.input_extent[a];
      from += i * p.input_stride[2 + a];
      with += t[a] * p.weight_stride[2 + a];
    }
    for (int ci = 0; inside && ci < p.in_channels; ++ci) {
      sum += input[from + ci * p.input_stride[1]] * weight[with + ci * p.weight_stride[0]];
    }
  }
  return sum;
}

// Where a line of outputs is, from the box's first; and its columns, from the part's first.
struct Line {
  int d, h;
  uint32_t columns;
};

// Line `job` of the box: cells of d and h, and within them residues.
__device__ __forceinline__ Line find_line(const Params& p, int job) {
  const int residues = p.stride[0] * p.stride[1];
  const int line = job / residues, residue = job - line * residues;
  const int residue_d = residue / p.stride[1], residue_h = residue - residue_d * p.stride[1];
  const int cell_d = line / p.cells[1], cell_h = line - cell_d * p.cells[1];
  return {cell_d * p.stride[0] + residue_d, cell_h * p.stride[1] + residue_h,
          static_cast<uint32_t>(residue * p.block_columns * kSumPitch +
                                line % p.part_lines * p.line_rows)};
}

// Of the outputs of a cell of w, o + p = s * i + t: which taps meet a position of the input, and
// where what they give is, from the line's position `first` in the first column of its taps.
template <int kStride, int kTaps>
struct Meeting {
  bool there[kStride][kTaps];
  int from[kStride][kTaps];
};

template <int kStride, int kTaps>
__device__ __forceinline__ Meeting<kStride, kTaps> find_meeting(const ForwardParams& p, int cell,
                                                                int tap_pitch, int first) {
  Meeting<kStride, kTaps> meeting;
#pragma unroll
  for (int e = 0; e < kStride; ++e) {
#pragma unroll
    for (int j = 0; j < kTaps; ++j) {
      const int tap = (e + p.padding[2]) % kStride + j * kStride;
      const int position = cell + (e + p.padding[2]) / kStride - j;
      meeting.there[e][j] = tap < p.kernel[2] && within(position, p.input_extent[2]);
      meeting.from[e][j] = tap * tap_pitch + position - first;
    }
  }
  return meeting;
}

// A cell of w of a line of outputs: bias, one rounding, and stores. Returns which of them are
// doubtful, and for repair(): none but in fp32.
template <Precision kPrecision, int kStride, int kOuts>
__device__ __forceinline__ unsigned store_cell(const ForwardParams& p, int n, const float* bias,
                                               int d, int h, int cell,
                                               const float (&sum)[kStride * kOuts]) {
  using T = ElementOf<kPrecision>;
  T* const first = static_cast<T*>(p.output) + n * p.output_stride[0] + d * p.output_stride[2] +
                   h * p.output_stride[3] + cell * kStride * p.output_stride[4];
  T value[kStride * kOuts];
#pragma unroll
  for (int i = 0; i < kStride * kOuts; ++i) value[i] = narrow<T>(sum[i] + bias[i % kOuts]);
  const bool whole = p.whole_stores && (cell + 1) * kStride <= p.output_extent[2];
  if (whole && (kOuts == 1 || p.channels_last)) {
    store_whole(first, value);
  } else if (whole) {
#pragma unroll
    for (int v = 0; v < kOuts; ++v) {
      T side[kStride];
#pragma unroll
      for (int e = 0; e < kStride; ++e) side[e] = value[e * kOuts + v];
      store_whole(first + v * p.output_stride[1], side);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kStride * kOuts; ++i) {
      if (cell * kStride + i / kOuts >= p.output_extent[2]) break;
      first[i / kOuts * p.output_stride[4] + i % kOuts * p.output_stride[1]] = value[i];
    }
  }
  unsigned again = 0;
  if constexpr (kPrecision == Precision::fp32) {
#pragma unroll
    for (int i = 0; i < kStride * kOuts; ++i) {
      const bool there = cell * kStride + i / kOuts < p.output_extent[2];
      if (there && is_doubtful(sum[i])) again |= 1u << i;
    }
  }
  return again;
}

// The doubtful outputs of a cell, computed again; those of line h + r are bits r * kStride * kOuts
// and on.
template <int kStride, int kOuts>
__device__ __forceinline__ void repair(const ForwardParams& p, int n, const float* bias, int d,
                                       int h, int cell, unsigned again) {
#pragma unroll 1
  for (; again != 0; again &= again - 1) {
    const int i = __ffs(static_cast<int>(again)) - 1, co = i % kOuts;
    const int w = cell * kStride + i / kOuts % kStride, line = h + i / (kStride * kOuts);
    static_cast<float*>(
        p.output)[n * p.output_stride[0] + co * p.output_stride[1] + d * p.output_stride[2] +
                  line * p.output_stride[3] + w * p.output_stride[4]] =
        exact_sum(p, n, co, d, line, w) + bias[co];
  }
}

// The outputs of a cell of w of a line. kTaps: of each output, at most. `sums`: the line's position
// 0 in the first column of its residue.
template <Precision kPrecision, int kStride, int kTaps, int kOuts>
__device__ __forceinline__ void fold_cell(const Params& p, int n, const float* sums,
                                          const float* bias, int d, int h, int cell) {
  const Meeting<kStride, kTaps> meeting =
      find_meeting<kStride, kTaps>(p, cell, kOuts * kSumPitch, 0);
  float value[kStride * kOuts] = {};
#pragma unroll
  for (int e = 0; e < kStride; ++e) {
#pragma unroll
    for (int v = 0; v < kOuts; ++v) {
#pragma unroll
      for (int j = 0; j < kTaps; ++j) {
        if (meeting.there[e][j]) value[e * kOuts + v] += sums[meeting.from[e][j] + v * kSumPitch];
      }
    }
  }
  const unsigned again = store_cell<kPrecision, kStride, kOuts>(p, n, bias, d, h, cell, value);
  if constexpr (kPrecision == Precision::fp32) {
    repair<kStride, kOuts>(p, n, bias, d, h, cell, again);
  }
}

// The outputs of a part of the box, in runs of 32 cells; `sums` has the columns of its positions.
template <Precision kPrecision, int kStride, int kTaps, int kOuts>
__device__ __forceinline__ void fold_part(const Params& p, const Box& box, int part,
                                          const Line* lines, const float* sums, const float* bias) {
  const int residues = p.stride[0] * p.stride[1];
  const int first = part * p.part_lines * residues;
  const int count = min(p.part_lines * residues, p.cells[0] * p.cells[1] * residues - first);
  const int first_d = box.d * p.stride[0] - p.padding[0];
  const int first_h = box.h * p.stride[1] - p.padding[1];
  const int cells = min(p.cells[2], p.all_cells_w - box.w);
#pragma unroll 1
  for (int job = threadIdx.x / 32; job < count * p.runs; job += kWarps) {
    const int index = divide(job, p.run_divisor), run = job - index * p.runs;
    const Line line = lines[first + index];
    const int d = first_d + line.d, h = first_h + line.h;
    const int cell = run * 32 + threadIdx.x % 32;
    if (cell >= cells || !within(d, p.output_extent[0]) || !within(h, p.output_extent[1])) continue;
    fold_cell<kPrecision, kStride, kTaps, kOuts>(p, box.n, sums + line.columns - box.first_w, bias,
                                                 d, h, box.w + cell);
  }
}

template <Precision kPrecision, int kStride, int kTaps>
__device__ __forceinline__ void fold_outs(const Params& p, const Box& box, int part,
                                          const Line* lines, const float* sums, const float* bias) {
  if (p.out_channels == 2) {
    fold_part<kPrecision, kStride, kTaps, 2>(p, box, part, lines, sums, bias);
  } else {
    fold_part<kPrecision, kStride, kTaps, 1>(p, box, part, lines, sums, bias);
  }
}

template <Precision kPrecision>
__device__ __forceinline__ void fold(const Params& p, const Box& box, int part, const Line* lines,
                                     const float* sums, const float* bias) {
  if (p.stride[2] == 2 && p.kernel[2] <= 4) {
    fold_outs<kPrecision, 2, 2>(p, box, part, lines, sums, bias);
  } else if (p.stride[2] == 2) {
    fold_outs<kPrecision, 2, kMaxTaps>(p, box, part, lines, sums, bias);
  } else {
    fold_outs<kPrecision, 1, kMaxTaps>(p, box, part, lines, sums, bias);
  }
}

}  // namespace convt3d::cuda::column_gemm
