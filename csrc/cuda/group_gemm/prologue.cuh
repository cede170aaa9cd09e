// SPDX-License-Identifier: BSD-3-Clause
// What a block prepares once: B and the tables of slices and cells.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/group_gemm/params.cuh"

namespace convt3d::cuda::group_gemm {

// A slice of K: one tap on d and h, one shift on w, one chunk of in channels.
struct Slice {
  int chunk, width, tap[2], shift[2];
};

__device__ __forceinline__ Slice find_slice(const GroupGemm& p, const int (&residue)[2], int block,
                                            int index) {
  Slice slice;
  const int first = p.taps.width_first[block], count = p.taps.width_first[block + 1] - first;
  slice.chunk = index % p.in_chunks;
  index /= p.in_chunks;
  slice.width = first + index % count;
  index /= count;
  const int step_h = index % p.taps.count[1][residue[1]];
  const int step[2] = {index / p.taps.count[1][residue[1]], step_h};
#pragma unroll
  for (int axis = 0; axis < 2; ++axis) {
    slice.tap[axis] = p.taps.first[axis][residue[axis]] + step[axis] * p.taps.step[axis];
    slice.shift[axis] = p.dilation[axis] * slice.tap[axis] / p.stride[axis];
  }
  return slice;
}

// Two neighbouring in channels of B, from `in` of the part on, as they lie in a register.
template <typename T>
__device__ __forceinline__ unsigned load_factors(const GroupGemm& p, const Part& part,
                                                 const Slice& slice, int residue, int in,
                                                 int out) {
  const int tap_w = p.taps.width_tap[slice.width][residue];
  unsigned bits = 0;
  if (tap_w < 0 || out >= part.outs) return 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (in + i >= part.ins || !same_group(p, in + i, out)) continue;
    const int of_group = (part.first_out + out) % p.group_outs;
    const auto* const own =
        static_cast<const unsigned short*>(p.weight) +
        (int64_t{part.first_in} + in + i) * p.weight_stride[0] + of_group * p.weight_stride[1] +
        slice.tap[0] * p.weight_stride[2] + slice.tap[1] * p.weight_stride[3] +
        tap_w * p.weight_stride[4];
    bits |= static_cast<unsigned>(*own) << (16 * i);
  }
  return bits;
}

// A lane of mma.m16n8k16 has of B the in channels 2 * (lane % 4) and the next of the out channel
// lane / 4, for both slices of a pair.
template <typename T, int kWidth>
__device__ __forceinline__ void prepare(const GroupGemm& p, const Regions& at, int first_part) {
  int list = 0;
#pragma unroll 1
  for (int d = 0; d < p.stride[0]; ++d) {
#pragma unroll 1
    for (int h = 0; h < p.stride[1]; ++h) {
#pragma unroll 1
      for (int block = 0; block < p.width_blocks; ++block, ++list) {
        const int first = p.taps.list_first[list], count = p.taps.list_first[list + 1] - first;
        const int residue[2] = {d, h};
        const int slices = p.taps.count[0][d] * p.taps.count[1][h] * p.in_chunks *
                           (p.taps.width_first[block + 1] - p.taps.width_first[block]);
#pragma unroll 1
        for (int item = threadIdx.x; item < count * 32 * p.block_parts; item += kThreads) {
          const int lane = item % 32, pair = item / 32 % count, own = item / 32 / count;
          const Part part = find_part(p, first_part + own);
          unsigned factors[kWidth][2] = {};
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            // A pair is complete: its first slice stands in for a second that is not there.
            const bool there = 2 * pair + half < slices;
            const Slice slice = find_slice(p, residue, block, 2 * pair + (there ? half : 0));
            if (own == 0 && lane == 0) {
              const int shift = (slice.shift[0] * p.halo[1] + slice.shift[1]) * p.halo[2] +
                                p.taps.width_shift[slice.width];
              at.offsets[2 * (first + pair) + half] = (slice.chunk * p.plane - shift) * 16;
            }
            if (!there || first_part + own >= p.parts) continue;
#pragma unroll
            for (int r = 0; r < kWidth; ++r) {
              factors[r][half] = load_factors<T>(
                  p, part, slice, r, slice.chunk * kChunk + lane % 4 * 2, lane / 4);
            }
          }
#pragma unroll
          for (int r = 0; r < kWidth; ++r) {
            at.factors[((own * p.pairs + first + pair) * 32 + lane) * kWidth + r] =
                make_uint2(factors[r][0], factors[r][1]);
          }
        }
      }
    }
  }
  // Cells of a tile, in the order (h, w). Rows of A behind the last are those of the first cell,
  // and far outside for the store.
  for (int row = threadIdx.x; row < p.row_units * kUnitRows; row += kThreads) {
    int h = row;
    const int w = divide(&h, p.by_tile_w);
    const bool there = row < p.rows;
    const int place = ((p.reach[0] * p.halo[1]) + (there ? h : 0) + p.reach[1]) * p.halo[2] +
                      (there ? w : 0) + p.reach[2];
    at.rows[row] = make_int2(place, there ? h << 16 | w : 0x7fff << 16);
  }
  for (int column = threadIdx.x; column < p.block_parts * kChunk; column += kThreads) {
    const int index = first_part + column / kChunk, of_part = column % kChunk;
    const Part part = find_part(p, index);
    const bool there = p.bias != nullptr && index < p.parts && of_part < part.outs;
    at.bias[column] =
        there ? widen(static_cast<const T*>(p.bias)[(part.first_out + of_part) * p.bias_stride])
              : 0.0f;
  }
}

}  // namespace convt3d::cuda::group_gemm
