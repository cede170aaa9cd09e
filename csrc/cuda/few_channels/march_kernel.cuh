// SPDX-License-Identifier: BSD-3-Clause
// grad_input of depthwise layers with kernel 3 and stride 2, 16 bits, NCDHW.
//
//   input[n, ci, i] = sum over t of output[n, group of ci, 2*i + t - p] * weight[ci, 0, t]
//
// A block takes some rows of a channel, and marches through its planes (march_planes.cuh). Each row
// of a plane is unpacked once for all taps that read it, of one plane of the result or of two:
//
//      2d - p       tap 0 of d, tap 2 of d - 1       a thread: 2 x 4 cells on w and h, which read
//      2d - p + 1   tap 1 of d                       5 x 9 elements of a plane; the weights wait in
//      2d - p + 2   tap 2 of d, tap 0 of d + 1       registers
#pragma once
#include "cuda/few_channels/march_planes.cuh"

namespace convt3d::cuda::few_channels {

template <int kIns>
using MarchWeights = float[kIns][3][3][3];
template <int kIns>
using MarchResults = float[kIns][kMarchCellsH][kMarchCellsW];

// Adds tap `kTap` on d of `sums`, and, where kBoth, tap 0 of `next`.
template <typename T, int kTap, bool kBoth, int kIns>
__device__ __forceinline__ void add_plane(const MarchCells& cells, const unsigned char* memory,
                                          int plane, const MarchWeights<kIns>& weight,
                                          MarchResults<kIns>& sums, MarchResults<kIns>& next) {
  cells.template for_each_row<T>(memory, plane, [&](int h, int tap, const MarchRow& x) {
#pragma unroll
    for (int in = 0; in < kIns; ++in) {
#pragma unroll
      for (int w = 0; w < kMarchCellsW; ++w) {
#pragma unroll
        for (int k = 0; k < 3; ++k) {
          sums[in][h][w] = fmaf(x[2 * w + k], weight[in][kTap][tap][k], sums[in][h][w]);
          if (kBoth) next[in][h][w] = fmaf(x[2 * w + k], weight[in][0][tap][k], next[in][h][w]);
        }
      }
    }
  });
}

template <typename T, int kIns>
__global__ __launch_bounds__(kMarchThreads,
                             kIns == 1 ? 5
                                       : 4) void march_kernel(const __grid_constant__ MarchSums p) {
  extern __shared__ __align__(16) unsigned char memory[];
  int block = blockIdx.x;
  const int first_h = divide(&block, p.by_tiles) * kMarchCellsH * p.groups_of_lanes;
  const int chunk = divide(&block, p.by_chunks_d), group = divide(&block, p.by_groups), n = block;
  const MarchPlanes planes(p, memory, n, group, chunk, first_h);
  planes.start(0);
  planes.start(1);
  const MarchCells cells(p, planes, first_h);
  const int first_in = group * kIns;
  MarchWeights<kIns> weight;
#pragma unroll
  for (int i = 0; i < kIns * 27; ++i) {
    weight[i / 27][i / 9 % 3][i / 3 % 3][i % 3] = widen(static_cast<const T*>(
        p.weight)[(first_in + i / 27) * p.weight_stride[0] + i / 9 % 3 * p.weight_stride[2] +
                  i / 3 % 3 * p.weight_stride[3] + i % 3 * p.weight_stride[4]]);
  }
  T* result = static_cast<T*>(p.input) + n * p.input_stride[0] + first_in * p.input_stride[1] +
              planes.first_d * p.input_stride[2] + cells.h * p.input_stride[3] +
              cells.w * p.input_stride[4];
  MarchResults<kIns> sums = {}, next = {};
  int plane = planes.next(0);
  if (plane >= 0) add_plane<T, 0, false, kIns>(cells, memory, plane, weight, sums, next);
#pragma unroll 1
  for (int d = planes.first_d; d < planes.end_d; ++d, result += p.input_stride[2]) {
    const int number = 2 * (d - planes.first_d);
    plane = planes.next(number + 1);
    if (plane >= 0) add_plane<T, 1, false, kIns>(cells, memory, plane, weight, sums, next);
    plane = planes.next(number + 2);
    if (plane >= 0) add_plane<T, 2, true, kIns>(cells, memory, plane, weight, sums, next);
#pragma unroll
    for (int in = 0; in < kIns; ++in) {
#pragma unroll
      for (int h = 0; h < kMarchCellsH; ++h) {
        const T values[2] = {narrow<T>(sums[in][h][0]), narrow<T>(sums[in][h][1])};
        sums[in][h][0] = next[in][h][0];
        sums[in][h][1] = next[in][h][1];
        next[in][h][0] = next[in][h][1] = 0;
        if (!cells.active || cells.h + h >= p.input_extent[1]) continue;
        T* const own = result + in * p.input_stride[1] + h * p.input_stride[3];
        if (p.pairs) {
          *reinterpret_cast<Vector<T, 2>*>(own) = {{values[0], values[1]}};
          continue;
        }
        own[0] = values[0];
        if (cells.w + 1 < p.input_extent[2]) own[p.input_stride[4]] = values[1];
      }
    }
  }
  copies_wait<0>();
}

}  // namespace convt3d::cuda::few_channels
