// SPDX-License-Identifier: BSD-3-Clause
// The weights as operands of the product of all taps, and the product: 32 rows and 32 columns of a
// warp.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/march_config.h"
#include "cuda/column_gemm/multiply.cuh"
#include "cuda/column_gemm/params.h"
#include "cuda/column_gemm/products.cuh"
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_words.cuh"

namespace convt3d::cuda::column_gemm {

// Columns: [tap][out channel]. Shared: [step][pair of column tiles][lane][tile of the pair][2
// words], zeros behind the last column and channel.
template <Precision kPrecision>
__device__ __forceinline__ void load_march_weights(const MarchParams& p, uint32_t* shared) {
  using T = ElementOf<kPrecision>;
  constexpr int kPerWord = 4 / sizeof(T);
  const int columns = p.column_tiles * 8, words = p.steps * p.chunks * 8;
  const int column = threadIdx.x % columns, first = threadIdx.x / columns;
  const int tap = column / p.out_channels, co = column - tap * p.out_channels;
  const int tap_dh = tap / p.kernel[2], tap_d = tap_dh / p.kernel[1];
  const bool there = tap_d < p.kernel[0];
  const T* weight = static_cast<const T*>(p.weight) + first * kPerWord * p.weight_stride[0];
  if (there) {
    weight += co * p.weight_stride[1] + tap_d * p.weight_stride[2] +
              (tap_dh - tap_d * p.kernel[1]) * p.weight_stride[3] +
              (tap - tap_dh * p.kernel[2]) * p.weight_stride[4];
  }
  const int at_once = kThreads / columns;
  uint32_t* const own = shared + column / 16 * 128 + column % 8 * 16 + column / 8 % 2 * 2;
#pragma unroll 8
  for (int word = first; word < words; word += at_once) {
    const int channel = word * kPerWord;
    uint32_t value = bits_of(weight, there && channel < p.in_channels);
    if constexpr (kPerWord == 2) {
      value |= bits_of(weight + p.weight_stride[0], there && channel + 1 < p.in_channels) << 16;
    } else if constexpr (kPrecision == Precision::tf32) {
      value = round_to_tf32(value);
    }
    own[word / 8 * p.column_tiles * 64 + word % 4 * 4 + word / 4 % 2] = value;
    weight += at_once * kPerWord * p.weight_stride[0];
  }
}

// Where a lane reads its part of 16 rows of a step, as find_rows() in multiply.cuh.
template <typename T, bool kRowsOfChannels>
__device__ __forceinline__ Rows find_plane_rows(const MarchParams& p, int first_row) {
  const int lane = threadIdx.x % 32, matrix = lane / 8;
  if constexpr (kRowsOfChannels) {
    return {(first_row + lane % 8 + matrix % 2 * 8) * p.pitch + matrix / 2 * 16, 0};
  } else if constexpr (sizeof(T) == 2) {
    return {(first_row + matrix % 2 * 8) * 2 + (lane % 8 + matrix / 2 * 8) * p.pitch, 0};
  } else {
    const uint32_t first = (first_row + lane / 4) * 4 + lane % 4 * p.pitch;
    return {first, first + 32};
  }
}

// sum += the products of one chunk. `weight`: this lane's words of its warp's first two column
// tiles of the chunk. The chains of 16 bits and TF32 are short (supports()); fp32's three products
// of a step start from zero, and are added with rounding.
template <Precision kPrecision, bool kRowsOfChannels>
__device__ __forceinline__ void multiply_plane(const MarchParams& p, const Rows& rows,
                                               uint32_t stage, uint32_t weight,
                                               float (&sum)[kTiles][kWarpColumnTiles][4]) {
  using T = ElementOf<kPrecision>;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  const uint32_t step_bytes = kRowsOfChannels ? 32 : step_channels(kPrecision) * p.pitch;
  const uint32_t operand_bytes = p.column_tiles * 256;
#pragma unroll 1
  for (int step = 0; step < p.steps; ++step) {
    uint32_t a[kTiles][4], rest[kTiles][4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      const uint32_t tile = m * 16 * (kRowsOfChannels ? p.pitch : uint32_t{sizeof(T)});
      load_rows<T, kRowsOfChannels>(a[m], rows, stage + tile, p.pitch);
      prepare_operand<kPrecision>(a[m], rest[m]);
    }
#pragma unroll
    for (int pair = 0; pair < kWarpColumnTiles; pair += 2) {
      uint32_t words[4];
      load_words(words, weight + pair * 256);
      uint32_t b[2][2] = {{words[0], words[1]}, {words[2], words[3]}};
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        uint32_t b_rest[2];
        if constexpr (kSplit) prepare_operand<kPrecision>(b[i], b_rest);
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
          add_products<kPrecision>(sum[m][pair + i], a[m], rest[m], b[i], b_rest);
        }
      }
    }
    stage += step_bytes;
    weight += operand_bytes;
  }
}

}  // namespace convt3d::cuda::column_gemm
