// SPDX-License-Identifier: BSD-3-Clause
// The products of a chunk, of a warp, by mma.sync. A is input, in_channels by positions; B is
// grad_output, positions by columns. Where lines hold kTaps taps of a position side by side, kTaps
// blocks of eight columns are the same eight lines, one tap each.
#pragma once
#include "cuda/cluster_weight/tile.h"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"

namespace convt3d::cuda::cluster_weight {

template <typename Tile>
using Sums = float[Tile::kWarpM / 16][Tile::kWarpN / 8][4];

// Where a warp's part of a stage lies for this lane, in bytes from the stage.
template <typename Tile>
struct LanePlace {
  uint32_t input, output;

  __device__ __forceinline__ LanePlace(int row, int column) {
    const int lane = threadIdx.x % 32, quad = lane % 4;
    constexpr int kElement = Tile::kElement;
    if constexpr (kElement == 2) {  // ldmatrix: a lane names a row of 16 bytes
      const int low = lane % 8 + lane / 8 % 2 * 8, high = lane % 8 + lane / 16 * 8;
      input = Tile::kLines ? (row + low) * Tile::kInputPitch + lane / 16 * 16
                           : high * Tile::kInputPitch + (row + lane / 8 % 2 * 8) * kElement;
      output = low * Tile::kOutputPitch + (column + lane / 16 * 8) * kElement;
    } else {
      input = Tile::kLines ? (row + lane / 4) * Tile::kInputPitch + quad * kElement
                           : quad * Tile::kInputPitch + (row + lane / 4) * kElement;
      output = quad * Tile::kOutputPitch + (column + lane / 4) * kElement;
    }
    if constexpr (Tile::kLines) {  // positions that lie side by side in a register of B
      constexpr int kPair = 4 / kElement;
      output = (column / Tile::kTaps + lane / 4) * Tile::kOutputPitch +
               quad * kPair * Tile::kTaps * kElement;
    }
    output += Tile::kOutputAt;
  }
};

// B of 32 bytes of K from position `k` on.
template <typename Tile>
__device__ __forceinline__ void load_b(uint32_t (&b)[Tile::kWarpN / 8][2], uint32_t at, int k) {
  constexpr int kTaps = Tile::kTaps, kElement = Tile::kElement, kBlocks = Tile::kWarpN / 8;
  if constexpr (Tile::kLines) {
    constexpr int kHalf = 16 / kElement * kTaps * kElement;  // bytes of half of the positions
#pragma unroll
    for (int group = 0; group < kBlocks / kTaps; ++group) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t from =
            at + group * 8 * Tile::kOutputPitch + k * kTaps * kElement + half * kHalf;
        uint32_t word[kTaps];
        load_words(word, from);
#pragma unroll
        for (int tap = 0; tap < kTaps; ++tap) {
          uint32_t* const target = &b[group * kTaps + tap][half];
          if constexpr (kElement == 4) {
            *target = word[tap];
          } else {  // the words of two positions, of which each has two taps
            *target = __byte_perm(word[tap / 2], word[tap / 2 + kTaps / 2],
                                  tap % 2 == 0 ? 0x5410 : 0x7632);
          }
        }
      }
    }
  } else if constexpr (kElement == 2) {
#pragma unroll
    for (int j = 0; j < kBlocks; j += 2) {
      uint32_t part[4];
      load_matrices_transposed(part, at + k * Tile::kOutputPitch + j * 8 * kElement);
#pragma unroll
      for (int i = 0; i < 4; ++i) b[j + i / 2][i % 2] = part[i];
    }
  } else {
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        b[j][half] = load_shared(at + (k + 4 * half) * Tile::kOutputPitch + j * 8 * kElement);
      }
    }
  }
}

// A of 16 in_channels, block `i`.
template <typename Tile>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], uint32_t at, int k, int i) {
  constexpr int kElement = Tile::kElement, kPitch = Tile::kInputPitch;
  const uint32_t from =
      Tile::kLines ? at + i * 16 * kPitch + k * kElement : at + k * kPitch + i * 16 * kElement;
  if constexpr (kElement == 2) {
    if constexpr (Tile::kLines) {
      load_matrices(a, from);
    } else {
      load_matrices_transposed(a, from);
    }
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {  // 8 rows on, 4 positions on
      const int row = e % 2 * 8, position = e / 2 * 4;
      a[e] = load_shared(from + (Tile::kLines ? row * kPitch + position * kElement
                                              : position * kPitch + row * kElement));
    }
  }
}

template <typename Tile>
__device__ __forceinline__ void multiply(uint32_t stage, const LanePlace<Tile>& lane,
                                         Sums<Tile>& sum) {
  constexpr int kStep = 32 / Tile::kElement, kBlocksM = Tile::kWarpM / 16,
                kBlocksN = Tile::kWarpN / 8;
  constexpr int kUnroll = 32 / kStep;  // limit: registers
#pragma unroll kUnroll
  for (int k = 0; k < Tile::kChunk; k += kStep) {
    uint32_t b[kBlocksN][2];
    load_b<Tile>(b, stage + lane.output, k);
    if constexpr (Tile::kPrecision == Precision::tf32) {
#pragma unroll
      for (int j = 0; j < kBlocksN; ++j) {
        b[j][0] = round_to_tf32(b[j][0]), b[j][1] = round_to_tf32(b[j][1]);
      }
    }
#pragma unroll
    for (int i = 0; i < kBlocksM; ++i) {
      uint32_t a[4];
      load_a<Tile>(a, stage + lane.input, k, i);
      if constexpr (Tile::kPrecision == Precision::tf32) {
#pragma unroll
        for (int e = 0; e < 4; ++e) a[e] = round_to_tf32(a[e]);
      }
#pragma unroll
      for (int j = 0; j < kBlocksN; ++j) mma_sync<typename Tile::T>(sum[i][j], a, b[j]);
    }
  }
}

}  // namespace convt3d::cuda::cluster_weight
