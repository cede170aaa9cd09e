// SPDX-License-Identifier: BSD-3-Clause
// Outputs of a box with a special element in its input (load.cuh): a NaN or Inf, which the zeros of
// B have carried to groups and residues that it does not belong to, or a number of float32 that
// split parts are no match for.
#pragma once
#include <cstdint>

#include "cuda/common/doubtful.cuh"
#include "cuda/common/element.cuh"
#include "cuda/group_gemm/params.cuh"
#include "cuda/group_gemm/store.cuh"

namespace convt3d::cuda::group_gemm {

// One output by its formula: taps that there are, channels of its own group. `place`: of its cell
// in the halo; `first_in`: the group's first in channel there.
template <Precision kPrecision>
__device__ __forceinline__ float sum_alone(const GroupGemm& p, const uint4* halo, int out,
                                           int residue_d, int residue_h, int block, int r,
                                           int place, int first_in) {
  using T = ElementOf<kPrecision>;
  const auto* const input = reinterpret_cast<const T*>(halo);
  const int group = out / p.group_outs;
  const auto* const weight = static_cast<const T*>(p.weight) +
                             int64_t{group} * p.group_ins * p.weight_stride[0] +
                             (out - group * p.group_outs) * p.weight_stride[1];
  float sum = 0;
#pragma unroll 1
  for (int id = 0; id < p.taps.count[0][residue_d]; ++id) {
    const int d = p.taps.first[0][residue_d] + id * p.taps.step[0];
#pragma unroll 1
    for (int ih = 0; ih < p.taps.count[1][residue_h]; ++ih) {
      const int h = p.taps.first[1][residue_h] + ih * p.taps.step[1];
      const int shift =
          p.dilation[0] * d / p.stride[0] * p.halo[1] + p.dilation[1] * h / p.stride[1];
#pragma unroll 1
      for (int width = p.taps.width_first[block]; width < p.taps.width_first[block + 1]; ++width) {
        const int w = p.taps.width_tap[width][r];
        if (w < 0) continue;
        const int own = place - shift * p.halo[2] - p.taps.width_shift[width];
#pragma unroll 1
        for (int i = 0; i < p.group_ins; ++i) {
          const T factor = weight[i * p.weight_stride[0] + d * p.weight_stride[2] +
                                  h * p.weight_stride[3] + w * p.weight_stride[4]];
          const int in = first_in + i;
          const T value = input[(in / kChunk<T> * p.plane + own) * kChunk<T> + in % kChunk<T>];
          if constexpr (kPrecision == Precision::tf32) {
            sum = fmaf(round_to_tf32(value), round_to_tf32(factor), sum);
          } else {
            sum = fmaf(widen(value), widen(factor), sum);
          }
        }
      }
    }
  }
  return sum;
}

// A plane in the staging area: what is doubtful there is summed again.
template <Precision kPrecision, bool kPlanes, int kWidth>
__device__ __forceinline__ void repair_plane(const GroupGemm& p, const Regions& at,
                                             const Plane& plane, int first_part) {
  using T = ElementOf<kPrecision>;
  auto* const stage = reinterpret_cast<T*>(at.stage);
  constexpr int kOfUnit = kUnitRows * kColumns;
  constexpr bool kSplit = kPrecision == Precision::fp32;
#pragma unroll 1
  for (int i = threadIdx.x; i < p.units * p.row_units * kOfUnit; i += kThreads) {
    const Unit unit = find_unit<kPlanes, kWidth>(p, i / kOfUnit / p.row_units);
    const int first_row = i / kOfUnit % p.row_units * kUnitRows;
    if (first_part + unit.part >= p.parts) break;
    const Part part = find_part(p, first_part + unit.part);
    const int column = i % kColumns;
    const Row row = at.rows[first_row + i % kOfUnit / kColumns];
    if (column >= part.outs) continue;
    const Lines lines = find_lines(p, plane, unit, kWidth);
    const int skew = kPlanes ? skew_of<T>(p, first_element(p, plane, part.first_out + column)) : 0;
    const int first_place =
        unit.part * p.in_chunks * p.plane + plane.cell * p.halo[1] * p.halo[2] + row.place;
    const int first_in = p.parts_of_group > 1 ? 0 : column / p.group_outs * p.group_ins;
#pragma unroll 1
    for (int r = 0; r < kWidth; ++r) {
      const int position = lines.origin + (row.packed >> kInsideBits) + r;
      if (!is_inside(row.packed, lines, unit.block * kWidth + r, position)) continue;
      T* const own = stage + staged_at<T, kPlanes>(p, position, unit.part, column, skew);
      if (!is_doubtful<kSplit>(widen(*own))) continue;
      const float sum = sum_alone<kPrecision>(p, at.halo, part.first_out + column, plane.residue,
                                              unit.residue_h, unit.block, r, first_place, first_in);
      *own = narrow<T>(sum + at.bias[unit.part * kColumns + column]);
    }
  }
}

}  // namespace convt3d::cuda::group_gemm
