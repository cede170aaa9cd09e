// SPDX-License-Identifier: BSD-3-Clause
// A warp's sums to the output, through its own staging buffer: written there in the order of the
// fragments, read in the order of the output, so that lanes store whole lines.
//
//   along positions (NCDHW)    staging[column / run][position][column % run]
//   along columns (NDHWC)      staging[position][column]
//
// A run is neighbouring columns that are neighbours in the output too: kw of them, or a part
// (in grad_input always 1).
#pragma once
#include "cuda/common/doubtful.cuh"
#include "cuda/common/element.cuh"
#include "cuda/shuffle_gemm/load.cuh"

namespace convt3d::cuda::shuffle_gemm {

// What is known of each column of a slice, in shared memory; offsets are negative behind the last.
struct Columns {
  const int64_t* result;
  const int64_t* weight;
  const float* bias;
};

template <typename T, int kBytes>
__device__ __forceinline__ void copy_out(T* target, const T* source) {
  using Word = std::conditional_t<
      kBytes == 16, uint4,
      std::conditional_t<kBytes == 8, uint2,
                         std::conditional_t<kBytes == 4, uint32_t, unsigned short>>>;
  *reinterpret_cast<Word*>(target) = *reinterpret_cast<const Word*>(source);
}

template <typename T>
__device__ __forceinline__ void stage_pair(T* at, float first, float second) {
  if constexpr (sizeof(T) == 2) {
    *reinterpret_cast<uint32_t*>(at) = pack_pair<T>(first, second);
  } else {
    *reinterpret_cast<float2*>(at) = make_float2(first, second);
  }
}

// 1024 elements of a staging buffer, kBytes at a time, as lines of kLine elements `pitch` apart.
// store(line, at, element) writes the access at element `at` of a line, `element` of the buffer.
template <typename T, int kBytes, int kLine, typename Store>
__device__ __forceinline__ void for_each_access(int pitch, int lane, Store store) {
  constexpr int kElements = kBytes / sizeof(T), kPerLine = kLine / kElements;
  // Where a line takes all lanes or fewer, a lane keeps its place in the line.
  constexpr bool kShort = kPerLine <= 32;
  const int lane_line = kShort ? lane / kPerLine : 0;
  const int lane_at = (kShort ? lane % kPerLine : lane) * kElements;
  constexpr int kUnroll = sizeof(T) == 2 ? 4 : 8;  // all of the widest; more spills on 8.0
#pragma unroll kUnroll
  for (int i = 0; i < 32 / kElements; ++i) {
    const int line = lane_line + (kShort ? i * 32 / kPerLine : i / (kPerLine / 32));
    const int at = lane_at + (kShort ? 0 : i % (kPerLine / 32) * 32 * kElements);
    store(line, at, line * pitch + at);
  }
}

// kRun: columns of a run, 0 for storing along columns.
template <typename T, typename Tile, int kRun>
__device__ __forceinline__ void store_passes(const Params& p,
                                             const float (&sums)[2][Tile::kWarpN / 8][4],
                                             T* staging, const Row* rows, const Columns& columns,
                                             int lane) {
  constexpr int kPasses = Tile::kWarpN / 32;
  // A pass: 32 positions x 32 columns, or, along columns, as many whole rows of the warp.
  constexpr int kPassColumns = kRun > 0 ? 32 : Tile::kWarpN;
  constexpr int kPassRows = 1024 / kPassColumns;
  // Pitches that put the pairs of a warp on different banks: 16 bytes for each column of a run.
  constexpr int kRunPitch = kWarpM * kRun + kRun * 16 / sizeof(T);
  constexpr int kRowPitch = kPassColumns + 8;
  T* const result = static_cast<T*>(p.result);
  const int row = lane / 4, pair = lane % 4 * 2;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    __syncwarp();  // the lanes have read what the last pass staged
#pragma unroll
    for (int j = 0; j < Tile::kWarpN / 8; ++j) {
      if (kRun > 0 && j / 4 != pass) continue;
      const float2 bias = *reinterpret_cast<const float2*>(columns.bias + 8 * j + pair);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (kRun == 0 && kPasses == 2 && i != pass) continue;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int m = 16 * i + 8 * half + row;
          const float first = sums[i][j][2 * half] + bias.x;
          const float second = sums[i][j][2 * half + 1] + bias.y;
          if constexpr (kRun == 0) {
            stage_pair(staging + m % kPassRows * kRowPitch + 8 * j + pair, first, second);
          } else {
            const int n = 8 * (j % 4) + pair;
            T* at = staging + n / kRun * kRunPitch + m * kRun + n % kRun;
            if constexpr (kRun == 1) {
              at[0] = narrow<T>(first);
              at[kRunPitch] = narrow<T>(second);
            } else {
              stage_pair(at, first, second);
            }
          }
        }
      }
    }
    __syncwarp();  // all of the pass is staged
    with_access<T>(p.result_access, [&](auto access) {
      constexpr int kBytes = decltype(access)::kBytes;
      const auto store = [&](int m, int n, int element) {
        const int64_t to_row = rows[m].result, to_column = columns.result[n];
        if (to_row >= 0 && to_column >= 0) {
          copy_out<T, kBytes>(result + to_row + to_column, staging + element);
        }
      };
      if constexpr (kRun == 0) {
        for_each_access<T, kBytes, kPassColumns>(
            kRowPitch, lane,
            [&](int line, int at, int element) { store(line + kPassRows * pass, at, element); });
      } else {
        for_each_access<T, kBytes, kWarpM * kRun>(
            kRunPitch, lane, [&](int line, int at, int element) {
              store(at / kRun, line * kRun + at % kRun + 32 * pass, element);
            });
      }
    });
  }
}

// Whether is_doubtful() may hold for any of them; zeros count.
template <int kColumns>
__device__ __forceinline__ bool any_doubtful(const float (&sums)[2][kColumns][4]) {
  AnyDoubtful<> any;
#pragma unroll
  for (int i = 0; i < 8 * kColumns; ++i) {
    any.see(sums[i / (4 * kColumns)][i / 4 % kColumns][i % 4]);
  }
  return any.found();
}

// A bit for each doubtful sum of this lane: bit 16 * i + 4 * j + e.
template <int kColumns>
__device__ __forceinline__ uint32_t find_doubtful(const float (&sums)[2][kColumns][4]) {
  static_assert(kColumns == 4);
  uint32_t bits = 0;
#pragma unroll
  for (int i = 0; i < 32; ++i) {
    bits |= static_cast<uint32_t>(is_doubtful(sums[i / 16][i / 4 % 4][i % 4])) << i;
  }
  return bits;
}

// Those results once more, product by product in float32.
template <Direction kDirection>
__device__ __forceinline__ void store_again(const Params& p, uint32_t bits, const Row* rows,
                                            const Columns& columns, int lane) {
  __syncwarp();  // the other lanes' stores come first
#pragma unroll 1
  for (; bits != 0; bits &= bits - 1) {
    const int bit = __ffs(static_cast<int>(bits)) - 1;
    const int m = bit / 16 * 16 + bit / 2 % 2 * 8 + lane / 4;
    const int n = bit / 4 % 4 * 8 + lane % 4 * 2 + bit % 2;
    if (rows[m].result < 0 || columns.result[n] < 0) continue;
    const float* x = static_cast<const float*>(p.source) + rows[m].source;
    const float* w = static_cast<const float*>(p.weight) + columns.weight[n];
    float sum = 0;
#pragma unroll 1
    for (int k = 0; k < p.depth; ++k) {
      if constexpr (kDirection == Direction::forward) {
        sum = fmaf(x[k * p.source_stride[1]], w[k * p.weight_stride[0]], sum);
      } else {
        sum = fmaf(x[p.depth_source.offset(k)], w[p.depth_weight.offset(k)], sum);
      }
    }
    static_cast<float*>(p.result)[rows[m].result + columns.result[n]] = sum + columns.bias[n];
  }
}

// grad_input with 4-byte elements: a warp's fragments are whole sectors as they are.
template <typename T, typename Tile>
__device__ __forceinline__ void store_fragments(const Params& p,
                                                const float (&sums)[2][Tile::kWarpN / 8][4],
                                                const Row* rows, const Columns& columns, int lane) {
  const int pair = lane % 4 * 2;
  const bool joins = !p.along_positions && p.result_access >= 8;
#pragma unroll
  for (int j = 0; j < Tile::kWarpN / 8; ++j) {
    const int64_t first = columns.result[8 * j + pair], second = columns.result[8 * j + pair + 1];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t row = rows[8 * i + lane / 4].result;
      if (row < 0 || first < 0) continue;
      const float(&sum)[4] = sums[i / 2][j];
      T* const to = static_cast<T*>(p.result) + row;
      if (joins) {
        *reinterpret_cast<float2*>(to + first) = make_float2(sum[i % 2 * 2], sum[i % 2 * 2 + 1]);
      } else {
        to[first] = sum[i % 2 * 2];
        if (second >= 0) to[second] = sum[i % 2 * 2 + 1];
      }
    }
  }
}

// `rows` and `columns` start at the warp's first. All lanes call it.
template <Precision kPrecision, typename T, typename Tile, Direction kDirection>
__device__ __forceinline__ void store_tile(const Params& p,
                                           const float (&sums)[2][Tile::kWarpN / 8][4], T* staging,
                                           const Row* rows, const Columns& columns) {
  int lane;  // read anew for each tile, as in load_rows()
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  uint32_t doubtful = 0;
  if constexpr (kPrecision == Precision::fp32) {
    if (any_doubtful(sums)) doubtful = find_doubtful(sums);
  }
  if constexpr (kDirection == Direction::grad_input && sizeof(T) == 4) {
    store_fragments<T, Tile>(p, sums, rows, columns, lane);
  } else if (!p.along_positions) {
    store_passes<T, Tile, 0>(p, sums, staging, rows, columns, lane);
  } else if constexpr (kDirection == Direction::grad_input) {
    store_passes<T, Tile, 1>(p, sums, staging, rows, columns, lane);
  } else if (p.run == 4) {
    store_passes<T, Tile, 4>(p, sums, staging, rows, columns, lane);
  } else if (p.run == 2) {
    store_passes<T, Tile, 2>(p, sums, staging, rows, columns, lane);
  } else {
    store_passes<T, Tile, 1>(p, sums, staging, rows, columns, lane);
  }
  if constexpr (kPrecision == Precision::fp32) {
    if (__any_sync(~0u, doubtful != 0)) store_again<kDirection>(p, doubtful, rows, columns, lane);
  }
}

// Outputs that no block covers: the bias. A warp keeps to one channel (or position) and its lanes
// take neighbouring positions (or channels).
template <typename T>
static __device__ __noinline__ void fill_border(const Params& p, int64_t warp, int64_t warps,
                                                int lane) {
  // Three boxes: behind the last block in d; in h; in w.
  int from[3] = {p.covered[0], 0, 0}, to[3] = {p.extent[0], p.extent[1], p.extent[2]};
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t sizes[3] = {to[0] - from[0], to[1] - from[1], to[2] - from[2]};
    const int64_t spots = sizes[0] * sizes[1] * sizes[2];
    const int64_t outer = p.batch * (p.along_positions ? p.out_channels : spots);
    const int64_t inner = p.along_positions ? spots : p.out_channels;
#pragma unroll 1
    for (int64_t i = warp; i < outer; i += warps) {
      const int64_t outers = p.along_positions ? p.out_channels : spots;
      const int64_t n = i / outers, rest = i - n * outers;
#pragma unroll 1
      for (int64_t j = lane; j < inner; j += 32) {
        const auto spot = static_cast<uint32_t>(p.along_positions ? j : rest);
        const int64_t channel = p.along_positions ? rest : j;
        const auto size_h = static_cast<uint32_t>(sizes[1]);
        const auto size_w = static_cast<uint32_t>(sizes[2]);
        const uint32_t line = spot / size_w, w = spot - line * size_w;
        const uint32_t d = line / size_h, h = line - d * size_h;
        const float bias =
            p.bias ? widen(static_cast<const T*>(p.bias)[channel * p.bias_stride]) : 0.0f;
        static_cast<T*>(
            p.result)[n * p.result_stride[0] + channel * p.result_stride[1] +
                      (from[0] + d) * p.result_stride[2] + (from[1] + h) * p.result_stride[3] +
                      (from[2] + w) * p.result_stride[4]] = narrow<T>(bias);
      }
    }
    if (axis == 2) break;
    from[axis] = 0, to[axis] = p.covered[axis];
    from[axis + 1] = p.covered[axis + 1];
  }
}

}  // namespace convt3d::cuda::shuffle_gemm
