// SPDX-License-Identifier: BSD-3-Clause
// grad_weight with few out channels as one product, by mma.sync:
//
//   weight[ci, co, t] = sum over n, i of input[n, ci, i] * column[i][co, t]
//   column[i][co, t] = output[n, co, s*i + t - p]
//
//   M = in channels;  N = out channels x taps;  K = positions of the input
//
// A block keeps boxes of both tensors in shared memory as they lie in memory; the columns are read
// element by element out of grad_output, as in input_kernel.cuh. Warps share a box by in channels
// and positions:
//
//      input box              grad_output box             sums in registers
//      [channels x positions] x [positions x columns]  -> shared (float, with rounding, warps of
//                                                         positions in order) -> part of the split
//
// A second launch adds the parts of the splits in their order. Boxes come in two stages (cp.async).
// supports_weight() guarantees groups 1, dilation 1, at most 64 columns, 32-bit coordinates.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/input_box.cuh"
#include "cuda/column_gemm/products.cuh"
#include "cuda/column_gemm/weight_params.h"
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"

namespace convt3d::cuda::column_gemm {

// This slice's channels of the input in `box`; zeros beside it.
template <typename T, bool kRowsOfChannels>
__device__ __forceinline__ void load_input_box(const WeightParams& p, const InputBox& box,
                                               uint32_t stage) {
  constexpr int kPiece = 16 / sizeof(T), kSize = sizeof(T);
  const InputParams& b = p.box;
  const int lane = threadIdx.x % 32, first_channel = blockIdx.y * p.slice_channels;
  const int channels = min(p.slice_channels, b.in_channels - first_channel);
  const int there = min(b.cells[2], b.input_extent[2] - box.first[2]);
  const auto* input = static_cast<const T*>(b.input) + box.n * b.input_stride[0] +
                      first_channel * b.input_stride[1] + box.first[2] * b.input_stride[4];
  const int lines = b.cells[0] * b.cells[1];
#pragma unroll 1
  for (int line = threadIdx.x / 32; line < lines; line += kInputWarps) {
    const int line_d = divide(line, p.cell_divisor);
    const int d = box.first[0] + line_d, h = box.first[1] + line - line_d * b.cells[1];
    const bool inside = d < b.input_extent[0] && h < b.input_extent[1];
    const T* source = input;
    if (inside) source += d * b.input_stride[2] + h * b.input_stride[3];
    if constexpr (kRowsOfChannels) {
      const int pieces = p.slice_channels / kPiece;
      const uint32_t target = stage + line * b.line_rows * p.pitch;
#pragma unroll 4
      for (int i = lane; i < b.line_rows * pieces; i += 32) {
        const int row = divide(i, p.piece_divisor), piece = i - row * pieces;
        const bool read = inside && row < there && piece * kPiece < channels;
        copy_async<16>(target + row * p.pitch + piece * 16,
                       read ? source + row * b.input_stride[4] + piece * kPiece : input,
                       read ? 16 : 0);
      }
    } else if (p.whole_input) {
      const uint32_t target = stage + line * b.line_rows * kSize;
      const int pieces = b.line_rows / kPiece;
#pragma unroll 4
      for (int i = lane; i < p.slice_channels * pieces; i += 32) {
        const int channel = divide(i, p.piece_divisor), piece = i - channel * pieces;
        const bool read = inside && piece * kPiece < there && channel < channels;
        copy_async<16>(target + channel * p.pitch + piece * 16,
                       read ? source + channel * b.input_stride[1] + piece * kPiece : input,
                       read ? 16 : 0);
      }
    } else {
      const uint32_t target = stage + line * b.line_rows * kSize;
#pragma unroll 4
      for (int i = lane; i < p.slice_channels * b.line_rows; i += 32) {
        const int channel = divide(i, p.piece_divisor), row = i - channel * b.line_rows;
        const bool read = inside && row < there && channel < channels;
        stage_element(target + channel * p.pitch + row * kSize,
                      source + channel * b.input_stride[1] + row * b.input_stride[4], read);
      }
    }
  }
}

// 16 in channels from `channel` on, a step of positions from `position` on.
template <typename T, bool kRowsOfChannels>
__device__ __forceinline__ void load_channels(uint32_t (&a)[4], uint32_t stage, uint32_t pitch,
                                              int channel, int position) {
  const int lane = threadIdx.x % 32, matrix = lane / 8, kSize = sizeof(T);
  if constexpr (!kRowsOfChannels) {
    load_matrices(a, stage + (channel + lane % 8 + matrix % 2 * 8) * pitch + position * kSize +
                         matrix / 2 * 16);
  } else if constexpr (sizeof(T) == 2) {
    load_matrices_transposed(
        a, stage + (position + lane % 8 + matrix / 2 * 8) * pitch + (channel + matrix % 2 * 8) * 2);
  } else {
    const uint32_t first = stage + (position + lane % 4) * pitch + (channel + lane / 4) * 4;
    a[0] = load_shared(first);
    a[1] = load_shared(first + 32);
    a[2] = load_shared(first + 4 * pitch);
    a[3] = load_shared(first + 4 * pitch + 32);
  }
}

// A step of one column: `from` are this lane's positions, `mask` which of them are there.
template <typename T>
__device__ __forceinline__ void gather_positions(uint32_t (&b)[2],
                                                 const uint32_t (&from)[8 / sizeof(T)],
                                                 const uint32_t (&mask)[2], uint32_t offset) {
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < 2; ++i) b[i] = load_shared(from[i] + offset) & mask[i];
  } else {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      b[i] = load_shared_pair(from[2 * i] + offset, from[2 * i + 1] + offset) & mask[i];
    }
  }
}

// The sums of a block go to shared memory, [channel][column], warps of positions one after another.
template <int kColumnTiles>
__device__ __forceinline__ void park(const WeightParams& p, float* parked, int columns, int channel,
                                     int position_warp, bool first,
                                     float (&sum)[kChannelTiles][kColumnTiles][4]) {
  const int lane = threadIdx.x % 32;
  for (int turn = 0; turn < p.position_warps; ++turn) {
    if (turn == position_warp) {
#pragma unroll
      for (int m = 0; m < kChannelTiles; ++m) {
#pragma unroll
        for (int i = 0; i < kColumnTiles; ++i) {
          const int at_column = i * 8 + lane % 4 * 2;
          if (at_column >= columns) continue;
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float* const at =
                parked + (channel + m * 16 + half * 8 + lane / 4) * columns + at_column;
#pragma unroll
            for (int j = 0; j < 2; ++j) {
              const float value = sum[m][i][half * 2 + j];
              at[j] = first && turn == 0 ? value : at[j] + value;
              sum[m][i][half * 2 + j] = 0;
            }
          }
        }
      }
    }
    __syncthreads();  // this turn's sums are there
  }
}

template <Precision kPrecision, bool kRowsOfChannels>
__global__ void __launch_bounds__(kInputThreads, 1)
    column_weight_kernel(const __grid_constant__ WeightParams p) {
#ifdef __CUDA_ARCH__
  if constexpr (is_refused(kPrecision, __CUDA_ARCH__ / 10)) return;
#endif
  using T = ElementOf<kPrecision>;
  constexpr int kColumnTiles = kMaxColumns / 8;
  constexpr int kPerWord = 4 / sizeof(T), kStep = 8 * kPerWord;
  const InputParams& b = p.box;
  extern __shared__ __align__(128) uint32_t memory[];
  const int columns = (b.columns + 7) / 8 * 8;
  auto* const parked = reinterpret_cast<float*>(memory);
  auto* const base = reinterpret_cast<uint32_t*>(parked + p.slice_channels * columns);
  uint32_t* const place = base + p.positions;
  const uint32_t stages = (shared_address(place + p.positions) + 127) / 128 * 128;
  const uint32_t stage_bytes = p.input_bytes + b.stage_bytes;
  const auto load = [&](int item, uint32_t stage) {
    const InputBox box = find_input_box(b, item);
    load_input_box<T, kRowsOfChannels>(p, box, stage);
    load_output_box<T>(b, box, stage + p.input_bytes);
  };
  if (static_cast<int>(blockIdx.x) < b.items) load(blockIdx.x, stages);
  copies_commit();

  // The first byte of each position's columns, and where the position is in its box.
  for (int row = threadIdx.x; row < p.positions; row += kInputThreads) {
    const int line = row / b.line_rows, w = row - line * b.line_rows;
    const int d = line / b.cells[1], h = line - d * b.cells[1];
    base[row] = d * b.stride[0] * b.step_d + h * b.stride[1] * b.step_h +
                (min(w, b.cells[2] - 1) * b.stride[2] + b.first_slack) * b.step_w;
    place[row] = d << 24 | h << 16 | w;
  }
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int position_warp = warp % p.position_warps, channel_warp = warp / p.position_warps;
  const int first_channel = channel_warp * kWeightChannels;
  const bool used = channel_warp < p.channel_warps;
  uint32_t offset[kColumnTiles];
#pragma unroll
  for (int i = 0; i < kColumnTiles; ++i) {
    const int column = min(i * 8 + lane / 4, b.columns - 1);
    offset[i] = column_offset(b, find_column(b, column, false));
  }
  float sum[kChannelTiles][kColumnTiles][4] = {};
  int stage = 0, since_parked = 0;
  bool first = true;
#pragma unroll 1
  for (int item = blockIdx.x; item < b.items; item += p.splits, stage ^= 1) {
    copies_wait<0>();
    __syncthreads();  // the boxes are there; all are done with those before them
    if (item + p.splits < b.items) load(item + p.splits, stages + (stage ^ 1) * stage_bytes);
    copies_commit();
    const uint32_t input = stages + stage * stage_bytes, output = input + p.input_bytes;
    const InputBox box = find_input_box(b, item);
    // How much of the box there is. Beside it zeros stand for the input, whose products with an
    // infinity would be NaN: grad_output is zero there too.
    int there[3];
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      there[axis] = min(b.cells[axis], b.input_extent[axis] - box.first[axis]);
    }
    const bool whole = there[0] == b.cells[0] && there[1] == b.cells[1] && there[2] == b.line_rows;
#pragma unroll 1
    for (int position = used ? position_warp * kStep : p.positions; position < p.positions;
         position += p.position_warps * kStep) {
      uint32_t from[2 * kPerWord], mask[2] = {~0u, ~0u};
#pragma unroll
      for (int i = 0; i < 2 * kPerWord; ++i) {
        const int row = position + (i / kPerWord * 4 + lane % 4) * kPerWord + i % kPerWord;
        from[i] = output + base[row];
      }
      if (!whole) {
        mask[0] = mask[1] = 0;
#pragma unroll
        for (int i = 0; i < 2 * kPerWord; ++i) {
          const int row = position + (i / kPerWord * 4 + lane % 4) * kPerWord + i % kPerWord;
          const auto at = static_cast<int>(place[row]);
          const bool inside =
              at >> 24 < there[0] && (at >> 16 & 255) < there[1] && (at & 0xffff) < there[2];
          const uint32_t ones = kPerWord == 1 ? ~0u : 0xffffu;
          if (inside) mask[i / kPerWord] |= ones << 16 * (i % kPerWord);
        }
      }
      uint32_t a[kChannelTiles][4], a_rest[kChannelTiles][4];
#pragma unroll
      for (int m = 0; m < kChannelTiles; ++m) {
        load_channels<T, kRowsOfChannels>(a[m], input, p.pitch, first_channel + m * 16, position);
        prepare_operand<kPrecision>(a[m], a_rest[m]);
      }
#pragma unroll
      for (int i = 0; i < kColumnTiles; ++i) {
        uint32_t word[2], word_rest[2];
        gather_positions<T>(word, from, mask, offset[i]);
        prepare_operand<kPrecision>(word, word_rest);
#pragma unroll
        for (int m = 0; m < kChannelTiles; ++m) {
          add_products<kPrecision>(sum[m][i], a[m], a_rest[m], word, word_rest);
        }
      }
    }
    if (++since_parked == p.parked_items || item + p.splits >= b.items) {
      since_parked = 0;
      park<kColumnTiles>(p, parked, columns, first_channel, used ? position_warp : p.position_warps,
                         first, sum);
      first = false;
    }
  }
  const int channels =
      min(p.slice_channels, b.in_channels - static_cast<int>(blockIdx.y) * p.slice_channels);
  float* const part =
      p.parts + (int64_t{blockIdx.x} * b.in_channels + blockIdx.y * p.slice_channels) * b.columns;
  for (int i = threadIdx.x; i < channels * b.columns; i += kInputThreads) {
    const int channel = i / b.columns;
    part[i] = parked[channel * columns + i - channel * b.columns];
  }
}

inline constexpr int kReduceWeights = 32, kReduceLanes = 8;

// blockDim = (weights, lanes): a lane takes every kReduceLanes-th split; the first adds up the
// lanes.
template <typename T>
__global__ void __launch_bounds__(kReduceWeights* kReduceLanes)
    add_column_parts_kernel(const __grid_constant__ WeightParams p, T* weight) {
  __shared__ double sums[kReduceLanes][kReduceWeights];
  const InputParams& b = p.box;
  const int64_t total = int64_t{b.in_channels} * b.columns;
  const int64_t index = blockIdx.x * int64_t{kReduceWeights} + threadIdx.x;
  double sum = 0;  // leaves one rounding
  if (index < total) {
#pragma unroll 8
    for (int split = threadIdx.y; split < p.splits; split += kReduceLanes) {
      sum += p.parts[split * total + index];
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();  // all lanes have written
  if (threadIdx.y > 0 || index >= total) return;
  for (int lane = 1; lane < kReduceLanes; ++lane) sum += sums[lane][threadIdx.x];
  const int channel = static_cast<int>(index / b.columns);
  const int column = static_cast<int>(index - int64_t{channel} * b.columns);
  const Column c = find_column(b, column, false);
  weight[channel * b.weight_stride[0] + c.co * b.weight_stride[1] + c.d * b.weight_stride[2] +
         c.h * b.weight_stride[3] + c.w * b.weight_stride[4]] = narrow<T>(static_cast<float>(sum));
}

}  // namespace convt3d::cuda::column_gemm
