// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of depthwise layers with kernel 3 and stride 2, 16 bits, NCDHW.
//
//   weight[ci, 0, t] = sum over n, i of input[n, ci, i] * output[n, group of ci, 2*i + t - p]
//
// A block takes some rows of a channel, and marches through its planes as march_kernel does. A
// thread keeps all 27 sums of its 2 x 4 cells of each plane of the input:
//
//      plane 2d - p       tap 0 with the input's plane d, tap 2 with d - 1
//      plane 2d - p + 1   tap 1 with d
//      plane 2d - p + 2   tap 2 with d, tap 0 with d + 1
//
// A warp adds its lanes' sums by shuffles, and the block its warps' in their order: a part, which
// add_parts_kernel adds to the others. Cells beyond the input are zeros, which an infinity or NaN
// of grad_output may meet.
#pragma once
#include "cuda/few_channels/march_planes.cuh"

namespace convt3d::cuda::few_channels {

template <int kIns>
using MarchTaps = float[kIns][3][3][3];
template <int kIns>
using MarchInputs = float[kIns][kMarchCellsH][kMarchCellsW];

// Adds the products of a plane with `cell` for tap `kTap` on d, and, where kBoth, with `next` for
// tap 0.
template <typename T, int kTap, bool kBoth, int kIns>
__device__ __forceinline__ void add_products(const MarchCells& cells, const unsigned char* memory,
                                             int plane, const MarchInputs<kIns>& cell,
                                             const MarchInputs<kIns>& next, MarchTaps<kIns>& sums) {
  cells.template for_each_row<T>(memory, plane, [&](int h, int tap, const MarchRow& x) {
#pragma unroll
    for (int in = 0; in < kIns; ++in) {
#pragma unroll
      for (int w = 0; w < kMarchCellsW; ++w) {
#pragma unroll
        for (int k = 0; k < 3; ++k) {
          float& own = sums[in][kTap][tap][k];
          own = fmaf(x[2 * w + k], cell[in][h][w], own);
          float& first = sums[in][0][tap][k];
          if (kBoth) first = fmaf(x[2 * w + k], next[in][h][w], first);
        }
      }
    }
  });
}

template <typename T, int kIns>
__global__ __launch_bounds__(kMarchThreads,
                             4) void march_weight_kernel(const __grid_constant__ MarchSums p) {
  extern __shared__ __align__(16) unsigned char memory[];
  int block = blockIdx.x;
  // Blocks of a channel, all splits of its sums, are neighbours, but for images.
  const int tile = divide(&block, p.by_tiles), first_h = tile * kMarchCellsH * p.groups_of_lanes;
  const int chunk = divide(&block, p.by_chunks_d), group = divide(&block, p.by_groups), n = block;
  const int split =
      (n * static_cast<int>(p.by_chunks_d.value) + chunk) * static_cast<int>(p.by_tiles.value) +
      tile;
  const MarchPlanes planes(p, memory, n, group, chunk, first_h);
  planes.start(0);
  planes.start(1);
  const MarchCells cells(p, planes, first_h);
  const T* const input = static_cast<const T*>(p.input) + n * p.input_stride[0] +
                         group * kIns * p.input_stride[1] + cells.h * p.input_stride[3] +
                         cells.w * p.input_stride[4];
  unsigned loaded[kIns][kMarchCellsH] = {};
  const auto load_cells = [&](int d) {
#pragma unroll
    for (int i = 0; i < kIns * kMarchCellsH; ++i) {
      const int in = i / kMarchCellsH, h = i % kMarchCellsH;
      const T* const own =
          input + in * p.input_stride[1] + d * p.input_stride[2] + h * p.input_stride[3];
      const bool there = cells.active && cells.h + h < p.input_extent[1];
      if (p.pairs) {
        loaded[in][h] = there ? *reinterpret_cast<const unsigned*>(own) : 0u;
        continue;
      }
      const bool second = there && cells.w + 1 < p.input_extent[2];
      const unsigned low = there ? *reinterpret_cast<const unsigned short*>(own) : 0u;
      const unsigned high =
          second ? *reinterpret_cast<const unsigned short*>(own + p.input_stride[4]) : 0u;
      loaded[in][h] = low | high << 16;
    }
  };
  const auto unpack = [&](MarchInputs<kIns>& cell) {
#pragma unroll
    for (int i = 0; i < kIns * kMarchCellsH * kMarchCellsW; ++i) {
      const int in = i / (kMarchCellsH * kMarchCellsW), h = i / kMarchCellsW % kMarchCellsH;
      cell[in][h][i % kMarchCellsW] = widen_half<T>(loaded[in][h], i % kMarchCellsW);
    }
  };
  MarchTaps<kIns> sums = {};
  MarchInputs<kIns> cell, next = {};
  load_cells(planes.first_d);
  unpack(cell);
  int plane = planes.next(0);
  if (plane >= 0) add_products<T, 0, false, kIns>(cells, memory, plane, cell, next, sums);
#pragma unroll 1
  for (int d = planes.first_d; d < planes.end_d; ++d) {
    const int number = 2 * (d - planes.first_d);
    const bool last = d + 1 == planes.end_d;
    if (!last) load_cells(d + 1);
    plane = planes.next(number + 1);
    if (plane >= 0) add_products<T, 1, false, kIns>(cells, memory, plane, cell, next, sums);
    plane = planes.next(number + 2);
    if (last) {
      if (plane >= 0) add_products<T, 2, false, kIns>(cells, memory, plane, cell, next, sums);
      break;
    }
    unpack(next);
    if (plane >= 0) add_products<T, 2, true, kIns>(cells, memory, plane, cell, next, sums);
    unpack(cell);
  }
  copies_wait<0>();
  __syncthreads();  // the last plane has been read
  auto* const of_warp = reinterpret_cast<float*>(memory);
#pragma unroll
  for (int i = 0; i < kIns * 27; ++i) {
    float sum = sums[i / 27][i / 9 % 3][i / 3 % 3][i % 3];
#pragma unroll
    for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, other);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32 * kIns * 27 + i] = sum;
  }
  __syncthreads();  // the sums of all warps are there
  if (threadIdx.x >= kIns * 27) return;
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < kMarchThreads / 32; ++warp) {
    total += of_warp[warp * kIns * 27 + threadIdx.x];
  }
  p.parts[(int64_t{split} * p.channels + group * kIns) * 27 + threadIdx.x] = total;
}

}  // namespace convt3d::cuda::few_channels
