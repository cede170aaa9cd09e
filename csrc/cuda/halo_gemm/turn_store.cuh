// SPDX-License-Identifier: BSD-3-Clause
// The sums of a warp of turn_kernel.cuh, 16 channels of all columns of a tile, to grad_input in
// NCDHW. Column n is position n % pitch of line n / pitch; what lies behind a line's end is not
// stored. Where each is, from the tile's first position on, is found once (`places`).
//
// A lane has two neighbouring columns of each 8 and two channels. Where 8 columns are 8 neighbours
// in memory, on 16 bytes, lanes exchange them so that each stores 16 bytes.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/halo_gemm/thread_here.cuh"
#include "cuda/halo_gemm/turn_params.h"

namespace convt3d::cuda::halo_gemm {

inline constexpr int kNowhere = 0x7FFFFFFF;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// By all threads, before the first unit.
__device__ __forceinline__ void find_columns(const TurnParams& p, uint32_t places) {
  for (int column = threadIdx.x; column < kTurnMaxColumns; column += kTurnThreads) {
    const int line = column / p.pitch, at = column - line * p.pitch;
    const bool there = at < p.result_extent[2] && line < p.lines;
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(places + 4 * column),
                 "r"(there ? line * static_cast<int>(p.result_stride[3]) + at : kNowhere));
  }
}

// 8 columns of up to four blocks of sums, a lane's words of a channel: block i's become those of
// lane i of four. TF32: two blocks of two words, and a lane's are half of a block.
template <typename T>
__device__ __forceinline__ uint4 exchange_columns(const uint32_t (&word)[4]) {
  const int quad = thread_here() % 4;
  const bool odd = quad % 2 != 0, high = quad / 2 != 0;
  const auto swap = [](uint32_t value, int lanes) { return __shfl_xor_sync(~0u, value, lanes); };
  if constexpr (sizeof(T) == 4) {
    const uint32_t a = swap(odd ? word[0] : word[2], 1), b = swap(odd ? word[1] : word[3], 1);
    return odd ? make_uint4(a, b, word[2], word[3]) : make_uint4(word[0], word[1], a, b);
  } else {
    const uint32_t a = swap(odd ? word[0] : word[1], 1), b = swap(odd ? word[2] : word[3], 1);
    const uint32_t w0 = odd ? a : word[0], w1 = odd ? word[1] : a;
    const uint32_t w2 = odd ? b : word[2], w3 = odd ? word[3] : b;
    const uint32_t c = swap(high ? w0 : w2, 2), d = swap(high ? w1 : w3, 2);
    return high ? make_uint4(c, d, w2, w3) : make_uint4(w0, w1, c, d);
  }
}

// `result`: of the tile's first position and the warp's first channel; `channels`, `lines`: that
// there are from there on.
template <typename T, int kColumns>
__device__ __forceinline__ void store_columns(const TurnParams& p, T* result, int channels,
                                              int lines, uint32_t places,
                                              const float (&sum)[kColumns / 2]) {
  constexpr int kTogether = 8 / static_cast<int>(sizeof(T));  // blocks of 8 columns
  constexpr int kBlocks = kColumns / 8;
  const int lane = thread_here() % 32, quad = lane % 4;
  const int of_lines = lines * static_cast<int>(p.result_stride[3]);
  // Positions of later lines are behind it.
  const int end[2] = {lane / 4 < channels ? of_lines : 0, lane / 4 + 8 < channels ? of_lines : 0};
  T* const of_half[2] = {result + lane / 4 * p.result_stride[1],
                         result + (lane / 4 + 8) * p.result_stride[1]};
  if (p.whole) {
    const int own = quad % kTogether, inside = quad / kTogether * 4;
#pragma unroll
    for (int b = 0; b < kBlocks; b += kTogether) {
      const bool there = b + own < kBlocks;
      const int place = there ? static_cast<int>(load_shared(places + (b + own) * 32)) : kNowhere;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t word[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int at = 4 * (b + (sizeof(T) == 4 ? i / 2 : i)) + 2 * half;
          if constexpr (sizeof(T) == 4) {
            word[i] = at < kColumns / 2 ? __float_as_uint(sum[at + i % 2]) : 0;
          } else {
            word[i] = at < kColumns / 2 ? pack_pair<T>(sum[at], sum[at + 1]) : 0;
          }
        }
        const uint4 value = exchange_columns<T>(word);
        if (place < end[half]) *reinterpret_cast<uint4*>(of_half[half] + place + inside) = value;
      }
    }
    return;
  }
#pragma unroll
  for (int b = 0; b < kBlocks; ++b) {
    uint32_t place[2];
    load_words(place, places + b * 32 + quad * 8);
    const int x = static_cast<int>(place[0]), y = static_cast<int>(place[1]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float low = sum[4 * b + 2 * half], high = sum[4 * b + 2 * half + 1];
      T* const to = of_half[half];
      if (p.pairs) {
        if (x >= end[half]) continue;
        if constexpr (sizeof(T) == 4) {
          *reinterpret_cast<float2*>(to + x) = make_float2(low, high);
        } else {
          *reinterpret_cast<uint32_t*>(to + x) = pack_pair<T>(low, high);
        }
      } else {
        if (x < end[half]) to[x] = narrow<T>(low);
        if (y < end[half]) to[y] = narrow<T>(high);
      }
    }
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
