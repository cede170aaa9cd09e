// SPDX-License-Identifier: BSD-3-Clause
// The gather scheme, for few channels per group and for axes beyond 32-bit coordinates: no shared
// tiles, sums in registers, weights through the caches. Depthwise forward and grad_input have a
// kernel of their own (depthwise_kernel.cuh).
//
//   forward, grad_input  a thread keeps 4 rows x kColumns channels of one group
//   grad_weight          a thread keeps kTaps taps x kColumns input channels of one output channel,
//                        over every (block / lanes)-th position; the block adds up in fixed order
//
// Neighbouring threads take neighbouring rows (positions), or, where the channel is innermost in
// memory, `group_lanes` of them take neighbouring groups of the same row.
#pragma once
#include <cstdint>
#include <type_traits>

#include "cuda/common/element.cuh"
#include "cuda/direct/gather_gemm.cuh"
#include "cuda/direct/tuning.h"

namespace convt3d::cuda::direct {

template <typename Number, int kCount>
struct alignas(kCount * sizeof(Number) < 16 ? kCount * sizeof(Number) : 16) Row {
  Number value[kCount];
};

// Whether a row's coordinate plus this one is in the source. Unsigned: below 0 is outside, too.
template <typename Coordinate>
__device__ __forceinline__ bool hits(const GatherGemm& p, const Place<Coordinate>& row, int axis,
                                     Coordinate coordinate) {
  using Unsigned = std::make_unsigned_t<Coordinate>;
  return static_cast<Unsigned>(row.coordinate[axis]) + static_cast<Unsigned>(coordinate) <
         static_cast<Unsigned>(p.source_extent[axis]);
}

// Tap digit `digit` of one axis: its part of the source offset, and which rows it hits there, of
// those in `candidates`.
template <typename Coordinate>
__device__ __forceinline__ int64_t tap_on_axis(const GatherGemm& p, const Side& pairs, int axis,
                                               Coordinate digit, const Place<Coordinate>* own,
                                               const bool* candidates, bool* on_rows) {
  const Coordinate coordinate = static_cast<Coordinate>(pairs.base[axis]) +
                                static_cast<Coordinate>(pairs.scale[axis]) * digit;
#pragma unroll
  for (int r = 0; r < kGatherRows; ++r) {
    on_rows[r] = candidates[r] && hits(p, own[r], axis, coordinate);
  }
  return coordinate * p.source_stride[axis];
}

__device__ __forceinline__ bool any(const bool* hits) {
  bool result = false;
#pragma unroll
  for (int r = 0; r < kGatherRows; ++r) result = result || hits[r];
  return result;
}

// Blocks of an SM that the registers of one thread's sums and rows leave room for.
template <typename T, typename Coordinate>
constexpr int kGatherBlocksPerSmLimit = sizeof(Coordinate) == 8       ? 1
                                        : sizeof(Accumulator<T>) == 8 ? 2
                                                                      : 3;

// C of forward (with bias) and of grad_input; B is the packed weight, whose columns are padded to a
// multiple of kColumns.
template <typename T, int kColumns, typename Coordinate>
__global__
__launch_bounds__(kGatherThreads, kGatherBlocksPerSmLimit<T, Coordinate>) void gather_kernel(
    const __grid_constant__ GatherGemm p) {
  using Sum = Accumulator<T>;
  __shared__ Side rows, pairs;
  __shared__ Work work;
  const int lane = threadIdx.x % p.group_lanes, lane_row = threadIdx.x / p.group_lanes;
  const int rows_per_pass = kGatherThreads / p.group_lanes;

  for (int64_t index = blockIdx.x; index < p.work; index += gridDim.x) {
    enter(p, index, &work, &rows, &pairs);
    const int64_t num_rows = count(rows);
    const int64_t first_row = work.row_tile * (kGatherRows * rows_per_pass) + lane_row;
    const int64_t group = work.group_tile * p.group_lanes + lane;
    if (group >= p.groups || first_row >= num_rows) continue;
    const int64_t first_column = work.column_tile * kColumns;

    Place<Coordinate> own[kGatherRows];
    // Element offset in C. Beside sums of 8 channels there is no register left: decoded again
    // there.
    constexpr bool kKeepOffsets = kColumns < 8;
    int64_t row_c[kGatherRows];
    const auto enter_rows = [&](const auto& decode) {
#pragma unroll
      for (int r = 0; r < kGatherRows; ++r) {
        const int64_t row = first_row + r * rows_per_pass;
        int64_t digit[4];
        decode(row, digit);
        own[r] = place<Coordinate>(p, rows, digit);
        if (row >= num_rows) own[r] = nowhere<Coordinate>(0);
        if (kKeepOffsets) row_c[r] = far_offset(rows, digit);
      }
    };
    if (num_rows <= INT32_MAX) {
      enter_rows([&](int64_t row, int64_t* digit) {
        decode_small_digits(rows, static_cast<uint32_t>(row), digit);
      });
    } else {
      enter_rows([&](int64_t row, int64_t* digit) { decode_digits(rows, row, digit); });
    }
    const T* source = static_cast<const T*>(p.source) + group * p.source_group_stride;
    const Sum* b =
        static_cast<const Sum*>(p.b) + far_origin(pairs) + group * p.b_group_stride + first_column;

    Sum sum[kGatherRows][kColumns] = {}, total[kGatherRows][kColumns] = {};
    const auto add = [&](const bool* hits_w, const T* element, const Sum* factors) {
      Sum value[kGatherRows];
#pragma unroll
      for (int r = 0; r < kGatherRows; ++r) {
        value[r] = hits_w[r] ? widen(element[own[r].offset]) : Sum(0);
      }
      const Row<Sum, kColumns> factor = *reinterpret_cast<const Row<Sum, kColumns>*>(factors);
#pragma unroll
      for (int r = 0; r < kGatherRows; ++r) {
#pragma unroll
        for (int j = 0; j < kColumns; ++j) sum[r][j] += value[r] * factor.value[j];
      }
    };
    const int64_t depth = pairs.radix[3];
    const Coordinate taps_d = static_cast<Coordinate>(pairs.radix[0]);
    const Coordinate taps_h = static_cast<Coordinate>(pairs.radix[1]);
    const Coordinate taps_w = static_cast<Coordinate>(pairs.radix[2]);
    const bool all[kGatherRows] = {true, true, true, true};
    uint32_t run = 0;  // pairs in sum
#pragma unroll 1
    for (Coordinate d = 0; d < taps_d; ++d) {
      bool hits_d[kGatherRows];
      const int64_t offset_d = tap_on_axis(p, pairs, 0, d, own, all, hits_d);
      if (!any(hits_d)) continue;
#pragma unroll 1
      for (Coordinate h = 0; h < taps_h; ++h) {
        bool hits_h[kGatherRows];
        const int64_t offset_h = offset_d + tap_on_axis(p, pairs, 1, h, own, hits_d, hits_h);
        if (!any(hits_h)) continue;
        const Sum* factors_h = b + d * pairs.far_stride[0] + h * pairs.far_stride[1];
#pragma unroll 1
        for (Coordinate w = 0; w < taps_w; ++w) {
          bool hits_w[kGatherRows];
          const int64_t offset = offset_h + tap_on_axis(p, pairs, 2, w, own, hits_h, hits_w);
          if (!any(hits_w)) continue;
          const Sum* factors = factors_h + w * pairs.far_stride[2];
          const T* element = source + offset;
#pragma unroll(kColumns == 8 ? 1 : 2)
          for (int64_t k = 0; k < depth; ++k) {
            add(hits_w, element, factors);
            element += pairs.other_source_stride;
            factors += pairs.far_stride[3];
          }
        }
        run += static_cast<uint32_t>(taps_w * depth);
        if (run < kGatherRunK) continue;
        run = 0;
#pragma unroll
        for (int r = 0; r < kGatherRows; ++r) {
#pragma unroll
          for (int j = 0; j < kColumns; ++j) {
            total[r][j] += sum[r][j];
            sum[r][j] = 0;
          }
        }
      }
    }

    T* c = static_cast<T*>(p.c) + group * p.c_group_stride;
#pragma unroll
    for (int r = 0; r < kGatherRows; ++r) {
      const int64_t index_r = first_row + r * rows_per_pass;
      if (index_r >= num_rows) continue;
      if (!kKeepOffsets) {
        int64_t digit[4];
        decode_digits(rows, index_r, digit);
        row_c[r] = far_offset(rows, digit);
      }
      T* row = c + row_c[r];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const int64_t column = first_column + j;
        if (column >= p.columns) break;
        Sum bias = 0;
        if (p.bias != nullptr) {
          bias = widen(static_cast<const T*>(p.bias)[(group * p.columns + column) * p.bias_stride]);
        }
        row[column * p.c_column_stride] = narrow<T>((total[r][j] + sum[r][j]) + bias);
      }
    }
  }
}

// Partial sums of grad_weight. Here a "row tile" is kTaps taps of one output channel: the row
// digits are (td, th, tw, out_channel), and row_tiles counts output channels x tap tiles.
template <typename T, int kTaps, int kColumns, typename Coordinate>
__global__ __launch_bounds__(kGatherThreads) void gather_weight_kernel(
    const __grid_constant__ GatherGemm p) {
  using Sum = Accumulator<T>;
  __shared__ Place<Coordinate> taps[kTaps];
  constexpr int kWarps = kGatherThreads / 32;
  __shared__ double shares[kWarps][kColumns][kMaxGroupLanes];
  const int lane = threadIdx.x % p.group_lanes, lane_pair = threadIdx.x / p.group_lanes;
  const int step = kGatherThreads / p.group_lanes;
  const int64_t num_taps = p.rows.radix[0] * p.rows.radix[1] * p.rows.radix[2];
  const int64_t out_channels = p.rows.radix[3];
  const int64_t num_pairs = count(p.pairs);
  const int64_t share = (num_pairs + p.splits - 1) / p.splits;

  for (int64_t index = blockIdx.x; index < p.work; index += gridDim.x) {
    const Work work = decode_work(p, index);
    const int64_t out_channel = work.row_tile % out_channels;
    const int64_t first_tap = work.row_tile / out_channels * kTaps;
    const int64_t first_column = work.column_tile * kColumns;
    const int64_t group = work.group_tile * p.group_lanes + lane;
    __syncthreads();  // the previous tile's taps are read no more
    if (threadIdx.x < kTaps) {
      Place<Coordinate> tap = nowhere<Coordinate>(0);  // past the last tap
      if (first_tap + threadIdx.x < num_taps) {
        int64_t digit[4];
        decode_digits(p.rows, (first_tap + threadIdx.x) * out_channels + out_channel, digit);
        tap = place<Coordinate>(p, p.rows, digit);
      }
      taps[threadIdx.x] = tap;
    }
    __syncthreads();  // the taps are there for all

    Sum sum[kTaps][kColumns] = {};
    const T* source = static_cast<const T*>(p.source) + group * p.source_group_stride;
    const T* b =
        static_cast<const T*>(p.b) + group * p.b_group_stride + first_column * p.b_column_stride;
    const int64_t last = min(num_pairs, (work.split + 1) * share);
    int64_t pair = work.split * share + lane_pair;
    int64_t digit[4];
    decode_digits(p.pairs, pair, digit);
    for (; pair < last && group < p.groups; pair += step) {
      const T* factors = b + far_offset(p.pairs, digit);
      Sum factor[kColumns];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        factor[j] = first_column + j < p.columns ? widen(factors[j * p.b_column_stride]) : Sum(0);
      }
      const Place<Coordinate> own = place<Coordinate>(p, p.pairs, digit);
#pragma unroll
      for (int t = 0; t < kTaps; ++t) {
        const Sum value =
            inside(p, own, taps[t]) ? widen(source[own.offset + taps[t].offset]) : Sum(0);
#pragma unroll
        for (int j = 0; j < kColumns; ++j) sum[t][j] += value * factor[j];
      }
      digit[3] += step;
#pragma unroll
      for (int i = 3; i > 0; --i) {
        while (digit[i] >= p.pairs.radix[i]) {
          digit[i] -= p.pairs.radix[i];
          ++digit[i - 1];
        }
      }
    }

    Sum* c = static_cast<Sum*>(p.c) + work.group_tile * p.group_lanes * p.c_group_stride +
             work.split * p.c_split_stride;
    const int own_warp = threadIdx.x / 32, own_lane = threadIdx.x % 32;
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
      // Always in the same order: a tree over the positions of a warp, then one warp after another;
      // in double, so that a sum over few positions is rounded hardly more than once.
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        double value = sum[t][j];
        for (int half = 16; half >= p.group_lanes; half /= 2) {
          value += __shfl_down_sync(0xffffffffu, value, half);
        }
        if (own_lane < p.group_lanes) shares[own_warp][j][own_lane] = value;
      }
      __syncthreads();  // the warps' shares of this tap are written
      for (int i = threadIdx.x; i < kColumns * p.group_lanes; i += kGatherThreads) {
        const int j = i / p.group_lanes, other_lane = i % p.group_lanes;
        double value = shares[0][j][other_lane];
#pragma unroll
        for (int warp = 1; warp < kWarps; ++warp) value += shares[warp][j][other_lane];
        const int64_t column = first_column + j;
        if (work.group_tile * p.group_lanes + other_lane < p.groups && column < p.columns &&
            first_tap + t < num_taps) {
          c[other_lane * p.c_group_stride +
            ((first_tap + t) * out_channels + out_channel) * p.columns + column] = value;
        }
      }
      __syncthreads();  // the shares are read
    }
  }
}

}  // namespace convt3d::cuda::direct
