// SPDX-License-Identifier: BSD-3-Clause
// What a block prepares once: B and the tables of slices and cells.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/group_gemm/load.cuh"
#include "cuda/group_gemm/params.cuh"

namespace convt3d::cuda::group_gemm {

// A slice of K: one tap on d and h, one shift on w, one chunk of in channels.
struct Slice {
  int chunk, width, tap[2], shift[2];
};

__device__ __forceinline__ Slice find_slice(const GroupGemm& p, const int (&residue)[2], int block,
                                            int index) {
  Slice slice;
  const int first = p.taps.width_first[block];
  slice.chunk = divide(&index, p.by_in_chunks);
  int step[2];
#pragma unroll
  for (int axis = 1; axis >= 0; --axis) {
    step[axis] = divide(&index, p.by_taps[axis][residue[axis]]);
  }
  slice.width = first + index;
#pragma unroll
  for (int axis = 0; axis < 2; ++axis) {
    slice.tap[axis] = p.taps.first[axis][residue[axis]] + step[axis] * p.taps.step[axis];
    slice.shift[axis] = p.dilation[axis] * slice.tap[axis];
    divide(&slice.shift[axis], axis == 0 ? p.by_stride_d : p.by_stride_h);
  }
  return slice;
}

// What a register has of B, from the in channel `in` of the part on: two neighbouring ones in 16
// bits, one in float32. TF32 is rounded.
template <Precision kPrecision>
__device__ __forceinline__ unsigned load_factors(const GroupGemm& p, const Part& part,
                                                 const Slice& slice, int residue, int in, int out) {
  using T = ElementOf<kPrecision>;
  const int tap_w = p.taps.width_tap[slice.width][residue];
  unsigned bits = 0;
  if (tap_w < 0 || out >= part.outs) return 0;
#pragma unroll
  for (int i = 0; i < int{4 / sizeof(T)}; ++i) {
    if (in + i >= part.ins || !same_group(p, in + i, out)) continue;
    int channel = part.first_out + out;
    const int of_group = divide(&channel, p.by_group_outs);
    const auto* const own = static_cast<const Bits<T>*>(p.weight) +
                            (int64_t{part.first_in} + in + i) * p.weight_stride[0] +
                            of_group * p.weight_stride[1] + slice.tap[0] * p.weight_stride[2] +
                            slice.tap[1] * p.weight_stride[3] + tap_w * p.weight_stride[4];
    bits |= static_cast<unsigned>(*own) << (16 * i);
  }
  return kPrecision == Precision::tf32 ? round_to_tf32(bits) : bits;
}

// The list of a pair, as the residues and the block of residues on w that it belongs to.
__device__ __forceinline__ int find_list(const GroupGemm& p, int pair, int (&residue)[2],
                                         int* block) {
  int list = 0;
  while (p.taps.list_first[list + 1] <= pair) ++list;
  pair -= p.taps.list_first[list];
  *block = divide(&list, p.by_width_blocks);
  residue[1] = divide(&list, p.by_stride_h);
  residue[0] = list;
  return pair;
}

// B and the offsets of A. A lane of mma.sync has of B four bytes of in channels, 4 * (lane % 4) and
// on, of the out channel lane / 4, for both slices of a pair; a warp takes a pair. Returns kSigns
// where a weight of float32 is special.
template <Precision kPrecision, int kWidth>
__device__ __forceinline__ unsigned prepare_pairs(const GroupGemm& p, const Regions& at,
                                                  int first_part) {
  using T = ElementOf<kPrecision>;
  const int lane = threadIdx.x % 32;
  unsigned bits = 0;
#pragma unroll 1
  for (int item = threadIdx.x / 32; item < p.pairs * p.block_parts; item += kWarps) {
    int own = item;
    const int pair = divide(&own, p.by_pairs);
    int residue[2], block;
    const int of_list = find_list(p, pair, residue, &block);
    const int slices = p.taps.count[0][residue[0]] * p.taps.count[1][residue[1]] * p.in_chunks *
                       (p.taps.width_first[block + 1] - p.taps.width_first[block]);
    const Part part = find_part(p, first_part + own);
    unsigned factors[kWidth][2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // A pair is complete: its first slice stands in for a second that is not there.
      const bool there = 2 * of_list + half < slices;
      const Slice slice = find_slice(p, residue, block, 2 * of_list + (there ? half : 0));
      if (own == 0 && lane == 0) {
        const int shift = (slice.shift[0] * p.halo[1] + slice.shift[1]) * p.halo[2] +
                          p.taps.width_shift[slice.width];
        at.offsets[2 * pair + half] = (slice.chunk * p.plane - shift) * 16;
      }
      if (!there || first_part + own >= p.parts) continue;
#pragma unroll
      for (int r = 0; r < kWidth; ++r) {
        const int in = slice.chunk * kChunk<T> + lane % 4 * int{4 / sizeof(T)};
        factors[r][half] = load_factors<kPrecision>(p, part, slice, r, in, lane / 4);
        if constexpr (kPrecision == Precision::fp32) bits |= special<kPrecision>(factors[r][half]);
      }
    }
#pragma unroll
    for (int r = 0; r < kWidth; ++r) {
      at.factors[(item * 32 + lane) * kWidth + r] = make_uint2(factors[r][0], factors[r][1]);
    }
  }
  return bits;
}

// Returns as prepare_pairs does.
template <Precision kPrecision, int kWidth>
__device__ __forceinline__ unsigned prepare(const GroupGemm& p, const Regions& at, int first_part) {
  using T = ElementOf<kPrecision>;
  const unsigned bits = prepare_pairs<kPrecision, kWidth>(p, at, first_part);
  // Cells of a tile, in the order (h, w). Rows of A behind the last are those of the first cell.
#pragma unroll 1
  for (int index = threadIdx.x; index < p.row_units * kUnitRows; index += kThreads) {
    int h = index < p.rows ? index : 0;
    const int w = divide(&h, p.by_tile_w);
    Row row;
    row.place = (p.reach[0] * p.halo[1] + h + p.reach[1]) * p.halo[2] + w + p.reach[2];
    row.packed = (h * p.stride[1] * p.output_extent[2] + w * p.stride[2]) << kInsideBits;
    for (int r = 0; r < p.stride[2] && index < p.rows; ++r) {
      const bool inside = within(p.first_w + w * p.stride[2] + r, p.output_extent[2]);
      row.packed |= inside ? 1 << r : 0;
    }
    at.rows[index] = row;
  }
  // Places that no load writes are looked through for NaN and Inf, too.
  const int places = p.halo[0] * p.halo[1] * p.halo[2], own_parts = p.parts - first_part;
#pragma unroll 1
  for (int own = 0; own < p.block_parts * p.in_chunks; ++own) {
    const int first = own < own_parts * p.in_chunks ? places : 0;
    for (int place = first + threadIdx.x; place < p.plane; place += kThreads) {
      at.halo[own * p.plane + place] = make_uint4(0, 0, 0, 0);
    }
  }
  for (int column = threadIdx.x; column < p.block_parts * kColumns; column += kThreads) {
    const int index = first_part + column / kColumns, of_part = column % kColumns;
    const Part part = find_part(p, index);
    const bool there = p.bias != nullptr && index < p.parts && of_part < part.outs;
    at.bias[column] =
        there ? widen(static_cast<const T*>(p.bias)[(part.first_out + of_part) * p.bias_stride])
              : 0.0f;
  }
  return bits;
}

}  // namespace convt3d::cuda::group_gemm
