// SPDX-License-Identifier: BSD-3-Clause
// One chunk of K from shared memory into a warp's sums, in the arithmetic of each precision.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/shuffle_gemm/tile.h"

namespace convt3d::cuda::shuffle_gemm {

// How a chunk of A lies in shared memory.
enum class Order {
  by_position,  // [positions][K]
  by_depth,     // [K][positions]
  by_word,      // [K / group][positions][group]: groups of 1, 2 or 4 words of 4 bytes
};

// Rows `row` .. + 15 of 32 bytes of K, at `chunk` (a warp's first row, this step's K).
template <typename T, typename Tile, Order kOrder>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], uint32_t chunk, int row, int group_bytes,
                                       int lane) {
  using Shared = SharedMemory<Tile, sizeof(T), Direction::forward>;
  if constexpr (kOrder == Order::by_position) {
    load_matrices(a, chunk + (row + lane % 16) * Shared::kDepthPitch + lane / 16 * 16);
  } else if constexpr (kOrder == Order::by_depth && sizeof(T) == 2) {
    const int k = lane % 8 + lane / 16 * 8, m = lane / 8 % 2 * 8;
    load_matrices_transposed(a, chunk + k * Shared::kPositionsPitch + (row + m) * 2);
  } else {
    // The word of this lane is one of a group, at its position; four words on in K are 4 / words
    // groups, which take the same bytes whatever a group is.
    const int words = kOrder == Order::by_word ? group_bytes / 4 : 1, word = lane % 4;
    const uint32_t at = chunk + (word & -words) * Shared::kWordsPitch + (word & (words - 1)) * 4 +
                        (row + lane / 4) * words * 4;
    a[0] = load_shared(at);
    a[1] = load_shared(at + 8 * words * 4);
    a[2] = load_shared(at + 4 * Shared::kWordsPitch);
    a[3] = load_shared(at + 4 * Shared::kWordsPitch + 8 * words * 4);
  }
}

// Columns `column` .. + 15: two operands. Forward has weights as [K][columns], grad_input as
// [columns][K].
template <typename T, typename Tile, Direction kDirection>
__device__ __forceinline__ void load_b(uint32_t (&b)[2][2], uint32_t chunk, int column, int lane) {
  using Shared = SharedMemory<Tile, sizeof(T), kDirection>;
  if constexpr (kDirection == Direction::grad_input || sizeof(T) == 2) {
    uint32_t part[4];
    if constexpr (kDirection == Direction::grad_input) {
      load_matrices(part, chunk + (column + lane % 8 + lane / 16 * 8) * Shared::kDepthPitch +
                              lane / 8 % 2 * 16);
    } else {
      load_matrices_transposed(
          part, chunk + lane % 16 * Shared::kWeightPitch + (column + lane / 16 * 8) * 2);
    }
    b[0][0] = part[0], b[0][1] = part[1], b[1][0] = part[2], b[1][1] = part[3];
  } else {
    const uint32_t at = chunk + lane % 4 * Shared::kWeightPitch + (column + lane / 4) * 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      b[i][0] = load_shared(at + i * 8 * 4);
      b[i][1] = load_shared(at + i * 8 * 4 + 4 * Shared::kWeightPitch);
    }
  }
}

// sums += one chunk. `source` is at the warp's first row, `weight` at its first column.
template <Precision kPrecision, typename Tile, Direction kDirection, Order kOrder>
__device__ __forceinline__ void multiply(float (&sums)[2][Tile::kWarpN / 8][4], uint32_t source,
                                         uint32_t weight, int group_bytes, int lane) {
  using T = ElementOf<kPrecision>;
  using Shared = SharedMemory<Tile, sizeof(T), kDirection>;
  constexpr int kSteps = Tile::kChunkBytes / 32, kStepK = Shared::kChunk / kSteps;
  constexpr int kStepA = kOrder == Order::by_position ? 32 : kStepK * Shared::kPositionsPitch;
  constexpr int kStepB = kDirection == Direction::grad_input ? 32 : kStepK * Shared::kWeightPitch;
  if constexpr (kPrecision == Precision::fp32) {
    // The tensor cores truncate when they add, so every two steps start from zero, the small
    // products come first, and the sums are added up with rounding. What split_tf32() cannot split
    // (infinities, NaN, numbers that round to infinity, the smallest) store_tile() computes again.
    constexpr int kPair = 2;
#pragma unroll
    for (int pair = 0; pair < kSteps; pair += kPair) {
      uint32_t high_a[kPair][2][4], low_a[kPair][2][4];
#pragma unroll
      for (int step = 0; step < kPair; ++step) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          uint32_t a[4];
          load_a<T, Tile, kOrder>(a, source + (pair + step) * kStepA, 16 * i, group_bytes, lane);
          split_tf32(a, high_a[step][i], low_a[step][i]);
        }
      }
#pragma unroll
      for (int j = 0; j < Tile::kWarpN / 8; j += 2) {
        uint32_t high_b[kPair][2][2], low_b[kPair][2][2];
#pragma unroll
        for (int step = 0; step < kPair; ++step) {
          uint32_t b[2][2];
          load_b<T, Tile, kDirection>(b, weight + (pair + step) * kStepB, 8 * j, lane);
          split_tf32(b[0], high_b[step][0], low_b[step][0]);
          split_tf32(b[1], high_b[step][1], low_b[step][1]);
        }
        float part[2][2][4] = {};
#pragma unroll
        for (int pass = 0; pass < 3; ++pass) {
#pragma unroll
          for (int step = 0; step < kPair; ++step) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
#pragma unroll
              for (int jj = 0; jj < 2; ++jj) {
                mma_sync<T>(part[i][jj], pass == 0 ? low_a[step][i] : high_a[step][i],
                            pass == 1 ? low_b[step][jj] : high_b[step][jj]);
              }
            }
          }
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            sums[i][j][e] += part[i][0][e];
            sums[i][j + 1][e] += part[i][1][e];
          }
        }
      }
    }
  } else {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t a[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        load_a<T, Tile, kOrder>(a[i], source + step * kStepA, 16 * i, group_bytes, lane);
        if constexpr (kPrecision == Precision::tf32) {
#pragma unroll
          for (uint32_t& value : a[i]) value = round_to_tf32(value);
        }
      }
#pragma unroll
      for (int j = 0; j < Tile::kWarpN / 8; j += 2) {
        uint32_t b[2][2];
        load_b<T, Tile, kDirection>(b, weight + step * kStepB, 8 * j, lane);
        if constexpr (kPrecision == Precision::tf32) {
#pragma unroll
          for (int e = 0; e < 4; ++e) b[e / 2][e % 2] = round_to_tf32(b[e / 2][e % 2]);
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          mma_sync<T>(sums[i][j], a[i], b[0]);
          mma_sync<T>(sums[i][j + 1], a[i], b[1]);
        }
      }
    }
  }
}

}  // namespace convt3d::cuda::shuffle_gemm
