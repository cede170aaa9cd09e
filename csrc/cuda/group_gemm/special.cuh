// SPDX-License-Identifier: BSD-3-Clause
// Outputs of a box with a NaN or Inf in its input, which the zeros of B have carried to groups and
// residues that it does not belong to.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/group_gemm/params.cuh"
#include "cuda/group_gemm/store.cuh"

namespace convt3d::cuda::group_gemm {

// One output by its formula: taps that there are, channels of its own group.
template <typename T>
__device__ float sum_alone(const GroupGemm& p, const uint4* halo, const Part& part,
                           const int (&residue)[2], int block, int r, int place, int column) {
  const auto* const input = reinterpret_cast<const T*>(halo);
  const int first_in = p.parts_of_group > 1 ? 0 : column / p.group_outs * p.group_ins;
  const int of_group = (part.first_out + column) % p.group_outs;
  float sum = 0;
#pragma unroll 1
  for (int id = 0; id < p.taps.count[0][residue[0]]; ++id) {
    const int d = p.taps.first[0][residue[0]] + id * p.taps.step[0];
#pragma unroll 1
    for (int ih = 0; ih < p.taps.count[1][residue[1]]; ++ih) {
      const int h = p.taps.first[1][residue[1]] + ih * p.taps.step[1];
      const int shift =
          p.dilation[0] * d / p.stride[0] * p.halo[1] + p.dilation[1] * h / p.stride[1];
#pragma unroll 1
      for (int width = p.taps.width_first[block]; width < p.taps.width_first[block + 1]; ++width) {
        const int w = p.taps.width_tap[width][r];
        if (w < 0) continue;
        const int own = place - shift * p.halo[2] - p.taps.width_shift[width];
#pragma unroll 1
        for (int i = first_in; i < first_in + p.group_ins; ++i) {
          const T factor = static_cast<const T*>(
              p.weight)[(int64_t{part.first_in} + i) * p.weight_stride[0] +
                        of_group * p.weight_stride[1] + d * p.weight_stride[2] +
                        h * p.weight_stride[3] + w * p.weight_stride[4]];
          const T value = input[(i / kChunk * p.plane + own) * kChunk + i % kChunk];
          sum = fmaf(widen(value), widen(factor), sum);
        }
      }
    }
  }
  return sum;
}

// A plane in the staging area: what is not finite there is summed again.
template <typename T, bool kPlanes, int kWidth>
__device__ __forceinline__ void repair_plane(const GroupGemm& p, const Regions& at, const Box& box,
                                             const Plane& plane, int first_part) {
  auto* const stage = reinterpret_cast<T*>(at.stage);
  constexpr int kOfUnit = kUnitRows * kChunk;
#pragma unroll 1
  for (int i = threadIdx.x; i < p.units * p.row_units * kOfUnit; i += kThreads) {
    const Unit unit = find_unit(p, i / kOfUnit / p.row_units);
    const int first_row = i / kOfUnit % p.row_units * kUnitRows;
    if (first_part + unit.part >= p.parts) break;
    const Part part = find_part(p, first_part + unit.part);
    const int column = i % kChunk;
    const Row row = at.rows[first_row + i % kOfUnit / kChunk];
    if (column >= part.outs) continue;
    const Lines lines = find_lines(p, plane, unit, kWidth);
    const int skew =
        kPlanes ? skew_of(p, first_element(p, box, plane, part.first_out + column)) : 0;
    const int first_place =
        unit.part * p.in_chunks * p.plane + plane.cell * p.halo[1] * p.halo[2] + row.place;
    const int residue[2] = {plane.residue, unit.residue_h};
#pragma unroll 1
    for (int r = 0; r < kWidth; ++r) {
      const int position = lines.origin + (row.packed >> kInsideBits) + r;
      if (!is_inside(row.packed, lines, unit.block * kWidth + r, position)) continue;
      T* const own = stage + staged_at<kPlanes>(p, position, unit.part, column, skew);
      if (isfinite(widen(*own))) continue;
      const float sum = sum_alone<T>(p, at.halo, part, residue, unit.block, r, first_place, column);
      *own = narrow<T>(sum + at.bias[unit.part * kChunk + column]);
    }
  }
}

}  // namespace convt3d::cuda::group_gemm
