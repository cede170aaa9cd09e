// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of depthwise layers with kernel 3 and stride 2, NDHWC, 16 bits and float32.
//
//   weight[ci, 0, t] = sum over n, i of input[n, ci, i] * output[n, group of ci, 2*i + t - p]
//
// Neighbouring threads have neighbouring channels, 8 bytes each, and keep all 27 sums of each. A
// thread takes 2 x 2 cells on w and h at a time and marches on d with them, as
// march_channels_kernel does: each element of a plane is loaded once, for the input's plane d and,
// where two read it, for d + 1. Then it takes the next cells: all threads of a tile of channels
// share them.
//
// A block adds its threads' sums in their order: a part, which add_parts_kernel adds to the others.
// Cells beyond the input are zeros, which an infinity or NaN of grad_output may meet.
//
// march_fits() guarantees: channels in eights, 32-bit coordinates. The launch sees that eight lie
// side by side (float32: four) and aligned. Strides in memory are 64-bit.
#pragma once
#include "cuda/few_channels/march_channels_kernel.cuh"

namespace convt3d::cuda::few_channels {

template <int kChannels>  // channels
using OwnSums = float[3][3][3][kChannels];
template <int kChannels>
using OwnCells = float[kMarchCells][kMarchCells][kChannels];

// Adds the products of a plane with `cell` for tap `kTap` on d, and, where kBoth, with `next` for
// tap 0.
template <typename T, int kIns, int kTap, bool kBoth, int kChannels>
__device__ __forceinline__ void add_plane(const char* source, const MarchPlace& place,
                                          const OwnCells<kChannels>& cell,
                                          const OwnCells<kChannels>& next,
                                          OwnSums<kChannels>& sums) {
  constexpr int kOuts = kChannels / kIns;
#pragma unroll
  for (int row = 0; row < kMarchPlaces; ++row, source += place.row_stride) {
    const bool inside = within(place.row + row, place.rows);
    Elements<T, kOuts> x[kMarchPlaces];
    const char* from = source;
#pragma unroll
    for (int i = 0; i < kMarchPlaces; ++i, from += place.column_stride) {
      x[i] = load_elements<kOuts, T>(from, inside && within(place.column + i, place.columns), 0,
                                     kOuts, true);
    }
#pragma unroll
    for (int h = 0; h < kMarchCells; ++h) {
      const int tap = row - 2 * h;
      if (tap < 0 || tap > 2) continue;
#pragma unroll
      for (int k = 0; k < 3; ++k) {
#pragma unroll
        for (int w = 0; w < kMarchCells; ++w) {
#pragma unroll
          for (int c = 0; c < kChannels; ++c) {
            const float value = x[2 * w + k].as_float(c / kIns);
            float& own = sums[kTap][tap][k][c];
            own = fmaf(value, cell[h][w][c], own);
            float& first = sums[0][tap][k][c];
            if (kBoth) first = fmaf(value, next[h][w][c], first);
          }
        }
      }
    }
  }
}

// The planes [first_d, end_d) of the input's cells at (n, own_h, own_w).
template <typename T, int kIns, int kChannels>
__device__ __forceinline__ void march_weight(const MarchSums& p, int n, int own_h, int own_w,
                                             int first, int first_d, int end_d,
                                             OwnSums<kChannels>& sums) {
  constexpr int64_t kElement = sizeof(T);
  const MarchPlace place(p, own_h, own_w, kElement);
  const char* const source = static_cast<const char*>(p.output) +
                             (n * p.output_stride[0] + first / kIns + place.row * p.row_stride +
                              place.column * p.column_stride) *
                                 kElement;
  const char* const input =
      static_cast<const char*>(p.input) +
      (n * p.input_stride[0] + first + own_h * p.input_stride[3] + own_w * p.input_stride[4]) *
          kElement;
  Elements<T, kChannels> loaded[kMarchCells][kMarchCells];
  const auto load_cells = [&](int d) {
#pragma unroll
    for (int i = 0; i < kMarchCells * kMarchCells; ++i) {
      const int h = i / kMarchCells, w = i % kMarchCells;
      const bool there = own_h + h < p.input_extent[1] && own_w + w < p.input_extent[2];
      loaded[h][w] = load_elements<kChannels, T>(
          input +
              (d * p.input_stride[2] + h * p.input_stride[3] + w * p.input_stride[4]) * kElement,
          there, 0, kChannels, true);
    }
  };
  const auto unpack = [&](OwnCells<kChannels>& cell) {
#pragma unroll
    for (int i = 0; i < kMarchCells * kMarchCells * kChannels; ++i) {
      const int h = i / kChannels / kMarchCells, w = i / kChannels % kMarchCells;
      cell[h][w][i % kChannels] = loaded[h][w].as_float(i % kChannels);
    }
  };
  OwnCells<kChannels> cell, next = {};
  const auto add = [&]<int kTap, bool kBoth>(int d) {
    if (!within(d, p.output_extent[0])) return;
    add_plane<T, kIns, kTap, kBoth, kChannels>(source + d * p.output_stride[2] * kElement, place,
                                               cell, next, sums);
  };
  load_cells(first_d);
  unpack(cell);
  add.template operator()<0, false>(2 * first_d - p.padding[0]);
#pragma unroll 1
  for (int d = first_d; d < end_d; ++d) {
    const int plane = 2 * d - p.padding[0];
    const bool last = d + 1 == end_d;
    if (!last) load_cells(d + 1);
    add.template operator()<1, false>(plane + 1);
    if (last) {
      add.template operator()<2, false>(plane + 2);
      break;
    }
    unpack(next);
    add.template operator()<2, true>(plane + 2);
    unpack(cell);
  }
}

template <typename T, int kIns>
__global__ __launch_bounds__(march_weight_threads(sizeof(T)), 1) void march_channels_weight_kernel(
    const __grid_constant__ MarchSums p) {
  constexpr int kChannels = march_weight_channels(sizeof(T)),
                kThreads = march_weight_threads(sizeof(T));
  int block = blockIdx.x;
  const int first_lane = divide(&block, p.by_tiles) * p.lanes, split = block;
  int own_position = threadIdx.x;
  const int lane = divide(&own_position, p.by_lanes), first = (first_lane + lane) * kChannels;
  const bool active = own_position < p.groups_of_lanes && first < p.channels;
  const int jobs = p.positions * static_cast<int>(p.by_chunks_d.value);
  OwnSums<kChannels> sums = {};
#pragma unroll 1
  for (int job = split * p.groups_of_lanes + own_position; active && job < jobs;
       job += p.splits * p.groups_of_lanes) {
    int rest = job;
    const int own_w = divide(&rest, p.by_cells[1]) * kMarchCells;
    const int own_h = divide(&rest, p.by_cells[0]) * kMarchCells;
    const int first_d = divide(&rest, p.by_chunks_d) * p.depth;
    march_weight<T, kIns, kChannels>(p, rest, own_h, own_w, first, first_d,
                                     min(first_d + p.depth, p.input_extent[0]), sums);
  }
  // Nine taps of all threads at once; each thread then adds those of one channel and tap.
  __shared__ float exchange[9 * kChannels][kThreads];
#pragma unroll
  for (int d = 0; d < 3; ++d) {
    __syncthreads();  // what the exchange held has been read
#pragma unroll
    for (int i = 0; i < 9 * kChannels; ++i) {
      exchange[i][threadIdx.x] = sums[d][i / kChannels / 3][i / kChannels % 3][i % kChannels];
    }
    __syncthreads();  // the sums of all threads are there
    for (int at = threadIdx.x; at < 9 * kChannels * p.lanes; at += kThreads) {
      int index = at;
      const int own_lane = divide(&index, p.by_lanes), tap = index / kChannels;
      const int channel = (first_lane + own_lane) * kChannels + index % kChannels;
      if (channel >= p.channels) continue;
      float total = 0;
      for (int i = 0; i < p.groups_of_lanes; ++i) total += exchange[index][i * p.lanes + own_lane];
      p.parts[(int64_t{split} * p.channels + channel) * 27 + d * 9 + tap] = total;
    }
  }
}

}  // namespace convt3d::cuda::few_channels
