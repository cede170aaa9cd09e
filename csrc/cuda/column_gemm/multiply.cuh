// SPDX-License-Identifier: BSD-3-Clause
// The weights as operands of the product, and the product: 32 rows of a warp, all columns.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/params.h"
#include "cuda/column_gemm/products.cuh"
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"

namespace convt3d::cuda::column_gemm {

// Columns: [residue of d and h][tap of w][out channel], each residue padded to block_columns.
// Shared: [step][shift of d and h][column tile][lane][2 words], zeros where there is no tap.
template <Precision kPrecision>
__device__ __forceinline__ void load_weights(const Params& p, uint32_t* shared) {
  using T = ElementOf<kPrecision>;
  constexpr int kChannels = step_channels(kPrecision);
  const int operands = p.shifts[0] * p.shifts[1] * p.column_tiles, steps = p.steps * p.chunks;
  const int word = threadIdx.x % 64, lane = word / 2;
  // 4 bytes of channels at 4 * (lane % 4), and 16 bytes on.
  const int first_channel = (lane % 4 + word % 2 * 4) * (sizeof(T) == 2 ? 2 : 1);
  // Threads in groups of 64, with an operand each; where there are more, they share its steps.
  constexpr int kGroups = kThreads / 64;
  const int group = threadIdx.x / 64, shares = max(1, kGroups / operands);
#pragma unroll 1
  for (int job = group; job < operands * shares; job += kGroups) {
    const int operand = job / shares, share = job - operand * shares;
    const int shift = operand / p.column_tiles;
    const int column = (operand - shift * p.column_tiles) * 8 + lane / 4;
    const int residue = column / p.block_columns, rest = column - residue * p.block_columns;
    const int tap_w = rest / p.out_channels, co = rest - tap_w * p.out_channels;
    const int residue_d = residue / p.stride[1], shift_d = shift / p.shifts[1];
    const int tap_d = shift_d * p.stride[0] + residue_d;
    const int tap_h =
        (shift - shift_d * p.shifts[1]) * p.stride[1] + residue - residue_d * p.stride[1];
    const bool tap = residue_d < p.stride[0] && tap_d < p.kernel[0] && tap_h < p.kernel[1] &&
                     tap_w < p.kernel[2];
    int channel = share * kChannels + first_channel;
    const T* weight = static_cast<const T*>(p.weight) + channel * p.weight_stride[0] +
                      co * p.weight_stride[1] + tap_d * p.weight_stride[2] +
                      tap_h * p.weight_stride[3] + tap_w * p.weight_stride[4];
    uint32_t* target = shared + (share * operands + operand) * 64 + word;
#pragma unroll 8
    for (int step = share; step < steps; step += shares) {
      uint32_t value = bits_of(weight, tap && channel < p.in_channels);
      if constexpr (sizeof(T) == 2) {
        value |= bits_of(weight + p.weight_stride[0], tap && channel + 1 < p.in_channels) << 16;
      } else if constexpr (kPrecision == Precision::tf32) {
        value = round_to_tf32(value);
      }
      *target = value;
      target += shares * operands * 64;
      weight += shares * kChannels * p.weight_stride[0];
      channel += shares * kChannels;
    }
  }
}

// A shift on d and h: how far back its rows are, in bytes, and the column tiles that have a tap.
struct Shift {
  uint32_t rows, mask;
};

// Where a lane reads its part of 16 rows of a step: `first` the rows row .. row + 7, `second` the
// next eight; with ldmatrix all lanes' addresses are in `first`.
struct Rows {
  uint32_t first, second;
};

// `table`: the row of the box of each row of the product.
template <typename T, bool kRowsOfChannels>
__device__ __forceinline__ Rows find_rows(const Params& p, const uint32_t* table, int first_row) {
  const int lane = threadIdx.x % 32, matrix = lane / 8;
  if constexpr (kRowsOfChannels) {
    return {table[first_row + lane % 8 + matrix % 2 * 8] * p.pitch + matrix / 2 * 16, 0};
  } else if constexpr (sizeof(T) == 2) {
    return {table[first_row + matrix % 2 * 8] * 2 + (lane % 8 + matrix / 2 * 8) * p.pitch, 0};
  } else {
    const uint32_t channel = lane % 4 * p.pitch;
    return {table[first_row + lane / 4] * 4 + channel,
            table[first_row + lane / 4 + 8] * 4 + channel};
  }
}

template <typename T, bool kRowsOfChannels>
__device__ __forceinline__ void load_rows(uint32_t (&a)[4], const Rows& rows, uint32_t from,
                                          uint32_t pitch) {
  if constexpr (kRowsOfChannels) {
    load_matrices(a, rows.first + from);
  } else if constexpr (sizeof(T) == 2) {
    load_matrices_transposed(a, rows.first + from);
  } else {
    a[0] = load_shared(rows.first + from);
    a[1] = load_shared(rows.second + from);
    a[2] = load_shared(rows.first + from + 4 * pitch);
    a[3] = load_shared(rows.second + from + 4 * pitch);
  }
}

// sum += the products of one chunk. `weight`: this lane's words of the chunk's first operand.
// Tensor cores truncate as they accumulate: supports() bounds the chains of 16 bits and TF32, and
// fp32's sums are added up with rounding after each step.
template <Precision kPrecision, bool kRowsOfChannels, int kColumnTiles>
__device__ __forceinline__ void multiply(const Params& p, const Shift* shifts,
                                         const Rows (&rows)[kTiles], uint32_t stage,
                                         uint32_t weight, float (&sum)[kTiles][kColumnTiles][4]) {
  using T = ElementOf<kPrecision>;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  const uint32_t step_bytes = kRowsOfChannels ? 32 : step_channels(kPrecision) * p.pitch;
  const int pairs = p.shifts[0] * p.shifts[1];
#pragma unroll 1
  for (int step = 0; step < p.steps; ++step, stage += step_bytes) {
#pragma unroll 2
    for (int shift = 0; shift < pairs; ++shift) {
      const uint32_t from = stage - shifts[shift].rows;
      const uint32_t mask = shifts[shift].mask;
      uint32_t a[kTiles][4], rest[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        load_rows<T, kRowsOfChannels>(a[m], rows[m], from, p.pitch);
        prepare_operand<kPrecision>(a[m], rest[m]);
      }
#pragma unroll
      for (int first = 0; first < kColumnTiles; first += kTilesAtOnce) {
        if (kColumnTiles > kTilesAtOnce && (mask >> first & ((1u << kTilesAtOnce) - 1)) == 0)
          continue;
        uint32_t b[kTilesAtOnce][2];
#pragma unroll
        for (int i = 0; i < kTilesAtOnce; ++i) {
          load_words(b[i], weight + (first + i) * 256);
        }
#pragma unroll
        for (int i = 0; i < kTilesAtOnce; ++i) {
          if ((mask >> (first + i) & 1) == 0) continue;
          uint32_t b_rest[2];
          if constexpr (kSplit) prepare_operand<kPrecision>(b[i], b_rest);
#pragma unroll
          for (int m = 0; m < kTiles; ++m) {
            add_products<kPrecision>(sum[m][first + i], a[m], rest[m], b[i], b_rest);
          }
        }
      }
      weight += p.column_tiles * 256;
    }
  }
}

}  // namespace convt3d::cuda::column_gemm
