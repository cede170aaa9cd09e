// SPDX-License-Identifier: BSD-3-Clause
// The weight as blocks that one bulk copy brings into shared memory, ready for wgmma and
// ldmatrix:
//
//   packed[group][column tile][residue][chunk][tap of the residue][part][32-byte step]
//         [columns / 8][2][8 columns][16 bytes]
//
// Columns are permuted: thread c of a quad holds columns 8 j + 2 c + {0, 1} of every 8 and shall
// own contiguous output channels, so that column is channel c * columns / 4 + 2 j + {0, 1} of the
// tile. Channels beyond the tensor are zeros. TF32 is rounded to nearest even. fp32 has two parts,
// the value rounded to TF32 and what that leaves.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/implicit_gemm/operand.cuh"
#include "cuda/implicit_gemm/params.cuh"

namespace convt3d::cuda::implicit_gemm {

template <Precision kPrecision>
__global__ void pack_kernel(const __grid_constant__ Params p, int columns, int steps,
                            unsigned char* packed) {
  using Op = Operand<kPrecision>;
  using T = typename Op::T;
  constexpr int kVector = 16 / sizeof(T);
  const int groups = columns / 8;
  const int pieces = steps * groups * 16;  // of 16 bytes, in a part of a block
  const int64_t total = int64_t{p.groups} * p.column_tiles * p.taps * p.chunks * pieces;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < total;
       i += int64_t{gridDim.x} * blockDim.x) {
    // A column's kVector input channels. The order is that of the natural taps.
    const int piece = static_cast<int>(i % pieces);
    int block = static_cast<int>(i / pieces);
    const int chunk = block % p.chunks;
    block /= p.chunks;
    const Tap tap(p, block % p.taps);
    const int tile = block / p.taps;
    const int row = piece % 8, half = piece / 8 % 2, group = piece / 16 % groups;
    const int step = piece / 16 / groups;
    const int of_group = tile / p.column_tiles;
    const int out = (tile - of_group * p.column_tiles) * columns + row / 2 * (columns / 4) +
                    2 * group + row % 2;
    const int in = ((chunk * steps + step) * 2 + half) * kVector;
    const T* source = static_cast<const T*>(p.weight) + of_group * p.weight_group_stride +
                      out * p.weight_stride[1];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      source +=
          (tap.set.axis[a]->first_tap + tap.step[a] * p.axis[a].tap_step) * p.weight_stride[2 + a];
    }
    alignas(16) T value[kVector];
    alignas(16) T rest_of[kVector];
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const bool there = out < p.out_channels && in + v < p.in_channels;
      const T element = there ? source[(in + v) * p.weight_stride[0]] : T();
      value[v] = Op::round(element);
      rest_of[v] = Op::rest(element);
    }
    const int64_t place = ((int64_t{tile} * p.taps + tap.set.first_tap) * p.chunks +
                           chunk * tap.set.taps + tap.rank) *
                              (16 * pieces * Op::kParts) +
                          16 * piece;
    *reinterpret_cast<uint4*>(packed + place) = *reinterpret_cast<const uint4*>(value);
    if constexpr (Op::kParts == 2) {
      *reinterpret_cast<uint4*>(packed + place + 16 * pieces) =
          *reinterpret_cast<const uint4*>(rest_of);
    }
  }
}

}  // namespace convt3d::cuda::implicit_gemm
