// SPDX-License-Identifier: BSD-3-Clause
// grad_input with few out channels as one product, by mma.sync:
//
//   input[n, ci, i] = sum over t, co of column[i][t, co] * weight[ci, co, t]
//   column[i][t, co] = output[n, co, s*i + t - p]
//
//   positions of a box x in channels, K = taps x out channels, 32 bytes of them a step
//
// A block keeps a box of grad_output in shared memory, as it lies in memory, and a lane reads its
// elements of an operand there one by one: an address of the position and an offset of the column.
// No columns are written; every element of the result is written once, by the thread that summed
// it:
//
//        box of grad_output                 NDHWC: A = positions, B = weights
//      +-----------------+                  NCDHW: A = weights,   B = positions
//      | [t0 t1 t2] .  . |  --- lds --->    mma.sync  --->  four results side by side in memory,
//      | .  . [t0 t1 t2] |                                  of one lane; a quad writes 32 or 64
//      bytes
//      +-----------------+
//
// Two stages: while a box is multiplied, the next one is on its way (cp.async). supports_input()
// guarantees groups 1, dilation 1, at most 64 columns, 32-bit coordinates, and a box that fits;
// strides in memory are any and 64-bit. float32: three TF32 products of each step start from zero,
// and are added with rounding; results that are doubtful are computed again.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/input_box.cuh"
#include "cuda/column_gemm/input_exact.cuh"
#include "cuda/column_gemm/products.cuh"
#include "cuda/common/doubtful.cuh"
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"

namespace convt3d::cuda::column_gemm {

// In channels 16 * half + 4 * (c / 2) + 2 * (tile % 2) + c % 2 of a chunk, or positions of a block,
// are column c of tile 2 * half + tile % 2: so that a lane has four side by side.
__device__ __forceinline__ int spread(int tile, int column) {
  return tile / 2 * 16 + column / 2 * 4 + tile % 2 * 2 + column % 2;
}

// Shared: [chunk][step][256 words]: NDHWC [tile of 8 channels][lane][2], NCDHW [16 channels][lane]
// [4].
template <Precision kPrecision, bool kChannelsLast>
__device__ __forceinline__ void load_input_weights(const InputParams& p, uint32_t* shared) {
  using T = ElementOf<kPrecision>;
  constexpr int kPerWord = 4 / sizeof(T), kStep = 8 * kPerWord;
  static_assert(kInputThreads == 256);  // each thread has one word of all steps and chunks
  const int word = threadIdx.x, lane = kChannelsLast ? word % 64 / 2 : word % 128 / 4;
  const int first_channel =
      kChannelsLast ? spread(word / 64, lane / 4) : word / 128 * 16 + lane / 4 + word % 2 * 8;
  const int first_column = (lane % 4 + (kChannelsLast ? word % 2 : word % 4 / 2) * 4) * kPerWord;
#pragma unroll 1
  for (int step = 0; step < p.steps; ++step) {
    const T* weight[kPerWord];
    bool there[kPerWord];
#pragma unroll
    for (int part = 0; part < kPerWord; ++part) {
      const int column = step * kStep + first_column + part;
      const Column c = find_column(p, column, p.rows);
      there[part] = column < p.columns;
      weight[part] = static_cast<const T*>(p.weight) + first_channel * p.weight_stride[0] +
                     c.co * p.weight_stride[1] + c.d * p.weight_stride[2] +
                     c.h * p.weight_stride[3] + c.w * p.weight_stride[4];
    }
#pragma unroll 4
    for (int chunk = 0; chunk < p.chunks; ++chunk) {
      const int channel = chunk * 32 + first_channel;
      uint32_t value = 0;
#pragma unroll
      for (int part = 0; part < kPerWord; ++part) {
        value |= bits_of(weight[part], channel < p.in_channels && there[part]) << 16 * part;
        weight[part] += 32 * p.weight_stride[0];
      }
      if constexpr (kPrecision == Precision::tf32) value = round_to_tf32(value);
      shared[(chunk * p.steps + step) * 256 + word] = value;
    }
  }
}

// Of each column of a step that a lane reads: its offset in bytes from a position's first, [step]
// [quad][columns]; beyond the last column the last. Then each row's first, and its place.
template <typename T>
__device__ __forceinline__ void fill_input_tables(const InputParams& p, uint32_t* offset,
                                                  uint32_t* base, uint32_t* place) {
  constexpr int kPerWord = 4 / sizeof(T), kPerLane = 2 * kPerWord;
  for (int i = threadIdx.x; i < p.steps * 4 * kPerLane; i += kInputThreads) {
    const int step = i / (4 * kPerLane), quad = i / kPerLane % 4, part = i % kPerLane;
    const int column =
        step * 8 * kPerWord + (part / kPerWord * 4 + quad) * kPerWord + part % kPerWord;
    offset[i] = column_offset(p, find_column(p, min(column, p.columns - 1), p.rows));
  }
  for (int row = threadIdx.x; row < p.row_blocks * 32; row += kInputThreads) {
    const int line = row / p.line_rows, w = row - line * p.line_rows;
    const int d = line / p.cells[1], h = line - d * p.cells[1];
    const bool there = d < p.cells[0] && w < p.cells[2];
    place[row] = there ? static_cast<uint32_t>(d << 24 | h << 16 | w) : kNoRow;
    base[row] = there ? d * p.stride[0] * p.step_d + h * p.stride[1] * p.step_h +
                            (w * p.stride[2] + p.first_slack) * p.step_w
                      : 0;
  }
}

// The two words of a step at one position.
template <typename T>
__device__ __forceinline__ void gather(uint32_t (&word)[2], uint32_t base,
                                       const uint32_t (&offset)[8 / sizeof(T)]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if constexpr (sizeof(T) == 4) {
      word[i] = load_shared(base + offset[i]);
    } else {
      word[i] = load_shared_pair(base + offset[2 * i], base + offset[2 * i + 1]);
    }
  }
}

// sum[m][tile] += 32 positions x 32 in channels, all columns.
template <Precision kPrecision, bool kChannelsLast>
__device__ __forceinline__ void multiply_columns(const InputParams& p, const uint32_t (&base)[4],
                                                 uint32_t offsets, uint32_t weight, bool whole,
                                                 float (&sum)[2][4][4]) {
  using T = ElementOf<kPrecision>;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  constexpr int kPerLane = 8 / sizeof(T);
  const int lane = threadIdx.x % 32;
  offsets += lane % 4 * (kPerLane * 4);
  // The step that has columns beyond the last, if any, and what is left of it.
  constexpr int kPerWord = 4 / sizeof(T), kStep = 8 * kPerWord;
  const int tail = p.columns % kStep == 0 ? -1 : p.steps - 1;
  uint32_t tail_mask[2] = {};
#pragma unroll
  for (int i = 0; i < 2 * kPerWord; ++i) {
    const int column = (i / kPerWord * 4 + lane % 4) * kPerWord + i % kPerWord;
    const uint32_t ones = kPerWord == 1 ? ~0u : 0xffffu;
    if (column < p.columns % kStep) tail_mask[i / kPerWord] |= ones << 16 * (i % kPerWord);
  }
  weight += lane * (kChannelsLast ? 8 : 16);
#pragma unroll 1
  for (int step = 0; step < p.steps; ++step) {
    uint32_t offset[kPerLane];
    load_words(offset, offsets);
    uint32_t a[2][4], b[4][2];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      uint32_t word[2];
      gather<T>(word, base[r], offset);
      if (step == tail) {
        // Beyond the last column: zero, not something finite times a zero.
#pragma unroll
        for (int i = 0; i < 2; ++i) word[i] &= tail_mask[i];
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if constexpr (kPrecision == Precision::tf32) word[i] = round_to_tf32(word[i]);
        if constexpr (kChannelsLast) {
          a[r / 2][r % 2 + 2 * i] = word[i];
        } else {
          b[r][i] = word[i];
        }
      }
    }
    if constexpr (kChannelsLast) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        load_words(b[j], weight + j * 256);
      }
    } else {
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        load_words(a[m], weight + m * 512);
      }
    }
    uint32_t a_rest[2][4];
    if constexpr (kSplit) {
#pragma unroll
      for (int m = 0; m < 2; ++m) prepare_operand<kPrecision>(a[m], a_rest[m]);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      uint32_t b_rest[2];
      if constexpr (kSplit) prepare_operand<kPrecision>(b[j], b_rest);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        // 16 in channels are one half of the product.
        if (!whole && (kChannelsLast ? j >= 2 : m == 1)) continue;
        add_products<kPrecision>(sum[m][j], a[m], a_rest[m], b[j], b_rest);
      }
    }
    offsets += 16 * kPerLane;
    weight += 1024;
  }
}

// Four results side by side at `target`, of which `there` are.
template <typename T>
__device__ __forceinline__ void store_four(T* target, int64_t step, bool whole, int there,
                                           const float (&value)[4]) {
  const T narrowed[4] = {narrow<T>(value[0]), narrow<T>(value[1]), narrow<T>(value[2]),
                         narrow<T>(value[3])};
  if (whole && there >= 4) {
    store_whole(target, narrowed);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < there) target[i * step] = narrowed[i];
    }
  }
}

// 32 positions, whose places are given, and 32 in channels.
template <Precision kPrecision, bool kChannelsLast>
__device__ __forceinline__ void store_block(const InputParams& p, const InputBox& box,
                                            const uint32_t* place, int first_channel,
                                            const float (&sum)[2][4][4]) {
  using T = ElementOf<kPrecision>;
  const int lane = threadIdx.x % 32;
  // A lane has two groups of four, `side`, and four rows: positions and channels, in either order.
  constexpr int kPlaces = kChannelsLast ? 4 : 2;
#pragma unroll
  for (int i = 0; i < kPlaces; ++i) {
    const uint32_t at = place[kChannelsLast ? i * 8 + lane / 4 : i * 16 + lane % 4 * 4];
    const int w = static_cast<int>(at & 0xffff), d = box.first[0] + static_cast<int>(at >> 24);
    const int h = box.first[1] + static_cast<int>(at >> 16 & 255), input_w = box.first[2] + w;
    if (at == kNoRow || d >= p.input_extent[0] || h >= p.input_extent[1] ||
        input_w >= p.input_extent[2]) {
      continue;
    }
    T* const position = static_cast<T*>(p.input) + box.n * p.input_stride[0] +
                        d * p.input_stride[2] + h * p.input_stride[3] + input_w * p.input_stride[4];
#pragma unroll
    for (int j = 0; j < 6 - kPlaces; ++j) {
      const int row = kChannelsLast ? i : j, side = kChannelsLast ? j : i;
      const int m = row / 2, half = row % 2 * 2;
      const int channel =
          first_channel + (kChannelsLast ? side * 16 + lane % 4 * 4 : row * 8 + lane / 4);
      if (channel >= p.in_channels) continue;
      const float value[4] = {sum[m][2 * side][half], sum[m][2 * side][half + 1],
                              sum[m][2 * side + 1][half], sum[m][2 * side + 1][half + 1]};
      const int there = kChannelsLast ? p.in_channels - channel
                                      : min(p.input_extent[2] - input_w, p.cells[2] - w);
      T* const target = position + channel * p.input_stride[1];
      const int64_t step = p.input_stride[kChannelsLast ? 1 : 4];
      store_four(target, step, p.whole_stores, there, value);
      if constexpr (kPrecision == Precision::fp32) {
        unsigned again = 0;  // the results that are doubtful
#pragma unroll
        for (int k = 0; k < 4; ++k) again |= k < there && is_doubtful(value[k]) ? 1u << k : 0;
#pragma unroll 1
        for (; again != 0; again &= again - 1) {
          const int k = __ffs(static_cast<int>(again)) - 1;
          target[k * step] = exact_input(p, box.n, channel + (kChannelsLast ? k : 0), d, h,
                                         input_w + (kChannelsLast ? 0 : k));
        }
      }
    }
  }
}

template <Precision kPrecision, bool kChannelsLast>
__global__ void __launch_bounds__(kInputThreads, 2)
    column_input_kernel(const __grid_constant__ InputParams p) {
#ifdef __CUDA_ARCH__
  if constexpr (is_refused(kPrecision, __CUDA_ARCH__ / 10)) return;
#endif
  using T = ElementOf<kPrecision>;
  constexpr int kPerLane = 8 / sizeof(T);
  extern __shared__ __align__(128) uint32_t memory[];
  uint32_t* const weights = memory;
  uint32_t* const offset = weights + p.chunks * p.steps * 256;
  uint32_t* const base = offset + p.steps * 4 * kPerLane;
  uint32_t* const place = base + p.row_blocks * 32;
  const uint32_t stages = shared_address(place + p.row_blocks * 32);

  const int blocks = gridDim.x;
  load_output_box<T>(p, find_input_box(p, blockIdx.x), stages);
  copies_commit();
  load_input_weights<kPrecision, kChannelsLast>(p, weights);
  fill_input_tables<T>(p, offset, base, place);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int stage = 0;
#pragma unroll 1
  for (int item = blockIdx.x; item < p.items; item += blocks, stage ^= 1) {
    copies_wait<0>();
    __syncthreads();  // the box and the tables are there; all are done with the box before it
    if (item + blocks < p.items) {
      load_output_box<T>(p, find_input_box(p, item + blocks), stages + (stage ^ 1) * p.stage_bytes);
    }
    copies_commit();
    const InputBox box = find_input_box(p, item);
#pragma unroll 1
    for (int job = warp; job < p.row_blocks * p.chunks; job += kInputWarps) {
      const int chunk = divide(job, p.row_block_divisor),
                first_row = (job - chunk * p.row_blocks) * 32;
      uint32_t from[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int row = kChannelsLast ? r * 8 + lane / 4 : spread(r, lane / 4);
        from[r] = stages + stage * p.stage_bytes + base[first_row + row];
      }
      float sum[2][4][4] = {};
      multiply_columns<kPrecision, kChannelsLast>(p, from, shared_address(offset),
                                                  shared_address(weights) + chunk * p.steps * 1024,
                                                  chunk * 32 + 16 < p.in_channels, sum);
      store_block<kPrecision, kChannelsLast>(p, box, place + first_row, chunk * 32, sum);
    }
  }
}

}  // namespace convt3d::cuda::column_gemm
