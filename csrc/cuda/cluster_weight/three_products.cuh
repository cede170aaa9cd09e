// SPDX-License-Identifier: BSD-3-Clause
// float32 by wgmma, as three TF32 products: A, columns by positions, from registers; B, input, high
// and low parts in shared memory, a panel of each: rows of 128 bytes of positions, swizzled.
#pragma once
#include "cuda/cluster_weight/load.cuh"
#include "cuda/cluster_weight/tile.h"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/common/tf32_split.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::cluster_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// 16 bytes of a row of input to their place in both panels.
__device__ __forceinline__ void store_parts(uint32_t high, uint32_t low, int row, int piece,
                                            const uint32_t (&value)[4]) {
  uint32_t high_part[4], low_part[4];
  split_operand(value, high_part, low_part);
  const uint32_t at = row * kPanelRow + (piece ^ row % 8) * 16;
  store_shared(high + at, make_uint4(high_part[0], high_part[1], high_part[2], high_part[3]));
  store_shared(low + at, make_uint4(low_part[0], low_part[1], low_part[2], low_part[3]));
}

// Positions of 64 columns and kWide rows of the panels, eight of a step. The tensor cores truncate
// when they add, so few steps add up from zero, small products first, and their sums are added up
// with rounding.
inline constexpr int kJoinedSteps = 2;  // limit: registers

template <int kWide>
__device__ __forceinline__ void add_three_products(float (&sum)[kWide / 2],
                                                   const uint32_t (&a)[kJoinedSteps][4],
                                                   uint32_t high, uint32_t low) {
  uint32_t high_a[kJoinedSteps][4], low_a[kJoinedSteps][4];
#pragma unroll
  for (int step = 0; step < kJoinedSteps; ++step) {
    split_operand(a[step], high_a[step], low_a[step]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // stay ahead of the fence
      asm volatile("" : "+r"(high_a[step][i]), "+r"(low_a[step][i]));
    }
  }
  using Product = sm90::Wgmma<float, kWide>;
  const uint64_t high_b = sm90::swizzled_descriptor(high), low_b = sm90::swizzled_descriptor(low);
  float part[kWide / 2];
  sm90::wgmma_fence();
#pragma unroll
  for (int step = 0; step < kJoinedSteps; ++step) {
    Product::run(part, low_a[step], high_b + 2 * step, step > 0);
  }
#pragma unroll
  for (int step = 0; step < kJoinedSteps; ++step) {
    Product::run(part, high_a[step], low_b + 2 * step, 1);
  }
#pragma unroll
  for (int step = 0; step < kJoinedSteps; ++step) {
    Product::run(part, high_a[step], high_b + 2 * step, 1);
  }
  sm90::wgmma_commit();
  sm90::wgmma_wait<0>();
  sm90::pin(part);
#pragma unroll
  for (int i = 0; i < kWide / 2; ++i) sum[i] += part[i];
}

// A chunk of input from the stage to the panels.
template <typename Tile>
__device__ __forceinline__ void write_panels(uint32_t stage, uint32_t panels) {
  sync_threads<kSumBarrier, kSumThreads>();  // nobody multiplies what was in the panels
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kM * (kPanelRow / 16); i += kSumThreads) {
    const int row = i % Tile::kM, piece = i / Tile::kM;
    uint32_t value[4];
    if constexpr (Tile::kLines) {
      load_words(value, stage + row * Tile::kInputPitch + piece * 16);
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        value[e] = load_shared(stage + (4 * piece + e) * Tile::kInputPitch + row * 4);
      }
    }
    store_parts(panels, panels + Tile::kPanelBytes, row, piece, value);
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // panels -> wgmma
  sync_threads<kSumBarrier, kSumThreads>();                     // the panels are there
}

// The products of a chunk: of a warpgroup 64 columns, of a lane pairs of neighbours, which are rows
// lane / 4 and 8 below it of the warp's 16.
template <typename Tile>
__device__ __forceinline__ void multiply_chunk(uint32_t stage, uint32_t panels,
                                               float (&sum)[Tile::kM / 2]) {
  constexpr int kPosition = Tile::kLines ? Tile::kTaps * 4 : Tile::kOutputPitch;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int column = thread / 32 * 16 + lane / 4 * 2;
  uint32_t from = stage + Tile::kOutputAt + lane % 4 * kPosition;
  if constexpr (Tile::kLines) {
    from += column / Tile::kTaps * Tile::kOutputPitch + column % Tile::kTaps * 4;
  } else {
    from += column * 4;
  }
#pragma unroll 1  // limit: registers
  for (int step = 0; step < kPanelRow / 32; step += kJoinedSteps) {
    uint32_t a[kJoinedSteps][4];
#pragma unroll
    for (int half = 0; half < 2 * kJoinedSteps; ++half) {
      uint32_t pair[2];
      load_words(pair, from + (8 * step + 4 * half) * kPosition);
      a[half / 2][half % 2 * 2] = pair[0], a[half / 2][half % 2 * 2 + 1] = pair[1];
    }
    add_three_products<Tile::kM>(sum, a, panels + 32 * step,
                                 panels + Tile::kPanelBytes + 32 * step);
  }
}

#endif

}  // namespace convt3d::cuda::cluster_weight
