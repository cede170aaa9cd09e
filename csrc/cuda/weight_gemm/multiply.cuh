// SPDX-License-Identifier: BSD-3-Clause
// Sixteen positions into a warp's sums, in the arithmetic of each precision.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/weight_gemm/tile.h"

namespace convt3d::cuda::weight_gemm {

template <typename Tile>
using Sums = float[Tile::kUnits][Tile::kBlocksM][2][4];

// 16-bit. `input` and `output` are the lane's addresses for ldmatrix: of the first position's 16
// channels, and of its position's halo row at tap 0.
template <typename T, typename Tile>
__device__ __forceinline__ void multiply_16bit(Sums<Tile>& sums, uint32_t input, uint32_t output,
                                               const int (&unit)[Tile::kUnits]) {
  uint32_t a[Tile::kBlocksM][4];
#pragma unroll
  for (int i = 0; i < Tile::kBlocksM; ++i) load_matrices_transposed(a[i], input + 32 * i);
#pragma unroll
  for (int u = 0; u < Tile::kUnits; ++u) {
    uint32_t part[4];
    load_matrices_transposed(part, output + unit[u]);
    const uint32_t b[2][2] = {{part[0], part[1]}, {part[2], part[3]}};
#pragma unroll
    for (int i = 0; i < Tile::kBlocksM; ++i) {
      mma_sync<T>(sums[u][i][0], a[i], b[0]);
      mma_sync<T>(sums[u][i][1], a[i], b[1]);
    }
  }
}

// Eight positions of 32-bit elements. `input` is the lane's word of positions 0..3, `outputs` those
// of its positions' halo rows, 0..3 and 4..7.
template <Precision kPrecision, typename Tile>
__device__ __forceinline__ void multiply_32bit(Sums<Tile>& sums, uint32_t input, int pitch,
                                               const uint32_t (&outputs)[2],
                                               const int (&unit)[Tile::kUnits]) {
  constexpr bool kFull = kPrecision == Precision::fp32;
  uint32_t a[Tile::kBlocksM][4], low_a[Tile::kBlocksM][4];
#pragma unroll
  for (int i = 0; i < Tile::kBlocksM; ++i) {
    const uint32_t at = input + 64 * i;
    const uint32_t x[4] = {load_shared(at), load_shared(at + 32), load_shared(at + 4 * pitch),
                           load_shared(at + 4 * pitch + 32)};
    if constexpr (kFull) {
      split_tf32(x, a[i], low_a[i]);
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e) a[i][e] = round_to_tf32(x[e]);
    }
  }
#pragma unroll
  for (int u = 0; u < Tile::kUnits; ++u) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const uint32_t x[2] = {load_shared(outputs[0] + unit[u] + 32 * j),
                             load_shared(outputs[1] + unit[u] + 32 * j)};
      uint32_t b[2];
      if constexpr (kFull) {
        // The tensor cores truncate when they add, so every step starts from zero, the small
        // products come first, and the sums are added up with rounding.
        uint32_t low_b[2];
        split_tf32(x, b, low_b);
        float part[Tile::kBlocksM][4] = {};
#pragma unroll
        for (int i = 0; i < Tile::kBlocksM; ++i) mma_sync<float>(part[i], low_a[i], b);
#pragma unroll
        for (int i = 0; i < Tile::kBlocksM; ++i) mma_sync<float>(part[i], a[i], low_b);
#pragma unroll
        for (int i = 0; i < Tile::kBlocksM; ++i) mma_sync<float>(part[i], a[i], b);
#pragma unroll
        for (int i = 0; i < Tile::kBlocksM; ++i) {
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[u][i][j][e] += part[i][e];
        }
      } else {
        b[0] = round_to_tf32(x[0]), b[1] = round_to_tf32(x[1]);
#pragma unroll
        for (int i = 0; i < Tile::kBlocksM; ++i) mma_sync<float>(sums[u][i][j], a[i], b);
      }
    }
  }
}

}  // namespace convt3d::cuda::weight_gemm
