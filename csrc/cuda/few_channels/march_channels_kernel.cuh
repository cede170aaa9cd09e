// SPDX-License-Identifier: BSD-3-Clause
// grad_input of depthwise layers with kernel 3 and stride 2, 16 bits, NDHWC.
//
//   input[n, ci, i] = sum over t of output[n, group of ci, 2*i + t - p] * weight[ci, 0, t]
//
// Neighbouring threads have neighbouring channels, eight each, of 2 x 2 cells on w and h, and march
// on d. A thread loads each element of a plane of grad_output that its cells read once, for its
// plane of the result and, where two read it, for the next (as march_kernel.cuh draws it):
//
//     5 x 5 positions of a plane       row by row: the next row's five loads of 16 bytes are on
//     x x x x x                        their way while one is unpacked; a row meets up to two taps
//       ...                            of h, whose weights come from shared memory, as float
//
// march_fits() guarantees: channels in eights, 32-bit coordinates. The launch sees that eight lie
// side by side and aligned. Strides in memory are 64-bit.
#pragma once
#include "cuda/few_channels/march_planes.cuh"

namespace convt3d::cuda::few_channels {

inline constexpr int kMarchPlaces = 2 * kMarchCells + 1;  // of grad_output, on w and h
inline constexpr int kWeightRow = kMarchLanes * kMarchChannels;

// A thread's share of a plane: where it lies, and which of its places are in grad_output.
struct MarchPlace {
  int row, column;                    // of the first place
  int rows, columns;                  // extents
  int64_t row_stride, column_stride;  // bytes

  __device__ __forceinline__ MarchPlace(const MarchSums& p, int own_h, int own_w, int element)
      : row(2 * own_h - p.padding[1]),
        column(2 * own_w - p.padding[2]),
        rows(p.output_extent[1]),
        columns(p.output_extent[2]),
        row_stride(p.row_stride * element),
        column_stride(p.column_stride * element) {}
};

// Adds tap `kTap` on d of `sums`, and, where kBoth, tap 0 of `next`.
template <typename T, int kIns, int kTap, bool kBoth, typename Sums>
__device__ __forceinline__ void add_channels(const char* source, const MarchPlace& place,
                                             const float* weights, Sums& sums, Sums& next) {
  constexpr int kOuts = kMarchChannels / kIns;
  Elements<T, kOuts> rows[2][kMarchPlaces];
  const auto load_row = [&](int row) {
    const bool inside = within(place.row + row, place.rows);
    const char* from = source;
    source += place.row_stride;
    keep_in_registers(source);
#pragma unroll
    for (int i = 0; i < kMarchPlaces; ++i, from += place.column_stride) {
      keep_in_registers(from);
      rows[row % 2][i] = load_elements<kOuts, T>(
          from, inside && within(place.column + i, place.columns), 0, kOuts, true);
    }
  };
#pragma unroll
  for (int row = 0; row < kMarchPlaces; ++row) {
    load_row(row);
    const Elements<T, kOuts>(&x)[kMarchPlaces] = rows[row % 2];
#pragma unroll
    for (int h = 0; h < kMarchCells; ++h) {
      const int tap = row - 2 * h;
      if (tap < 0 || tap > 2) continue;
#pragma unroll
      for (int k = 0; k < 3; ++k) {
#pragma unroll
        for (int both = 0; both < (kBoth ? 2 : 1); ++both) {
          float weight[kMarchChannels];
          load_weights<kMarchChannels>(
              weights + (((both == 0 ? kTap : 0) * 3 + tap) * 3 + k) * kWeightRow, weight);
#pragma unroll
          for (int w = 0; w < kMarchCells; ++w) {
            float(&own)[kMarchChannels] = both == 0 ? sums[h][w] : next[h][w];
#pragma unroll
            for (int c = 0; c < kMarchChannels; ++c) {
              own[c] = fmaf(x[2 * w + k].as_float(c / kIns), weight[c], own[c]);
            }
          }
          asm volatile("" ::: "memory");  // other weights, and later rows, come later: registers
        }
      }
    }
  }
}

template <typename T, int kIns>
__global__ __launch_bounds__(kMarchThreads,
                             2) void march_channels_kernel(const __grid_constant__ MarchSums p) {
  __shared__ __align__(16) float weights[27 * kWeightRow];
  int block = blockIdx.x;
  const int first_lane = divide(&block, p.by_tiles) * p.lanes;
  const int first_d = divide(&block, p.by_chunks_d) * p.depth;
  const int end_d = min(first_d + p.depth, p.input_extent[0]);
  for (int at = threadIdx.x; at < 27 * kWeightRow; at += kMarchThreads) {
    const int channel = first_lane * kMarchChannels + at % kWeightRow, tap = at / kWeightRow;
    weights[at] =
        channel < p.channels
            ? widen(static_cast<const T*>(
                  p.weight)[channel * p.weight_stride[0] + tap / 9 * p.weight_stride[2] +
                            tap / 3 % 3 * p.weight_stride[3] + tap % 3 * p.weight_stride[4]])
            : 0.0f;
  }
  __syncthreads();  // the weights are there
  int position = threadIdx.x;
  const int lane = divide(&position, p.by_lanes), first = (first_lane + lane) * kMarchChannels;
  const bool active = position < p.groups_of_lanes && first < p.channels;
  position += block * p.groups_of_lanes;
  if (!active || position >= p.positions) return;
  const int own_w = divide(&position, p.by_cells[1]) * kMarchCells;
  const int own_h = divide(&position, p.by_cells[0]) * kMarchCells, n = position;

  const MarchPlace place(p, own_h, own_w, 2);
  const char* const source = static_cast<const char*>(p.output) +
                             (n * p.output_stride[0] + first / kIns + place.row * p.row_stride +
                              place.column * p.column_stride) *
                                 2;
  const float* const own_weights = weights + lane * kMarchChannels;
  float sums[kMarchCells][kMarchCells][kMarchChannels] = {};
  float next[kMarchCells][kMarchCells][kMarchChannels] = {};
  const auto add = [&]<int kTap, bool kBoth>(int d) {
    if (!within(d, p.output_extent[0])) return;
    add_channels<T, kIns, kTap, kBoth>(source + d * p.output_stride[2] * 2, place, own_weights,
                                       sums, next);
  };
  add.template operator()<0, false>(2 * first_d - p.padding[0]);
#pragma unroll 1
  for (int d = first_d; d < end_d; ++d) {
    const int plane = 2 * d - p.padding[0];
    add.template operator()<1, false>(plane + 1);
    add.template operator()<2, true>(plane + 2);
    T* const result = static_cast<T*>(p.input) + n * p.input_stride[0] + first +
                      d * p.input_stride[2] + own_h * p.input_stride[3] + own_w * p.input_stride[4];
#pragma unroll
    for (int h = 0; h < kMarchCells; ++h) {
#pragma unroll
      for (int w = 0; w < kMarchCells; ++w) {
        Vector<T, kMarchChannels> values;
#pragma unroll
        for (int c = 0; c < kMarchChannels; ++c) {
          values.value[c] = narrow<T>(sums[h][w][c]);
          sums[h][w][c] = next[h][w][c];
          next[h][w][c] = 0;
        }
        if (own_h + h >= p.input_extent[1] || own_w + w >= p.input_extent[2]) continue;
        *reinterpret_cast<Vector<T, kMarchChannels>*>(result + h * p.input_stride[3] +
                                                      w * p.input_stride[4]) = values;
      }
    }
  }
}

}  // namespace convt3d::cuda::few_channels
