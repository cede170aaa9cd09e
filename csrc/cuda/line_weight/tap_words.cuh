// SPDX-License-Identifier: BSD-3-Clause
// A in registers, picked out of words of grad_output's lines.
#pragma once
#include <cstdint>

namespace convt3d::cuda::line_weight {

// The lower, or the upper, halves of two words.
__device__ __forceinline__ uint32_t lower(uint32_t a, uint32_t b) {
  uint32_t pair;
  asm volatile("prmt.b32 %0, %1, %2, 0x5410;" : "=r"(pair) : "r"(a), "r"(b));
  return pair;
}
__device__ __forceinline__ uint32_t upper(uint32_t a, uint32_t b) {
  uint32_t pair;
  asm volatile("prmt.b32 %0, %1, %2, 0x7632;" : "=r"(pair) : "r"(a), "r"(b));
  return pair;
}

// The upper half of one word and the lower half of the next.
__device__ __forceinline__ uint32_t across(uint32_t a, uint32_t b) {
  uint32_t pair;
  asm volatile("prmt.b32 %0, %1, %2, 0x5432;" : "=r"(pair) : "r"(a), "r"(b));
  return pair;
}

// A word as it is, written anew: with `zero`, a zero that ptxas does not know of, it does not load
// the next words into registers that products still read.
__device__ __forceinline__ uint32_t with(uint32_t word, uint32_t zero) {
  uint32_t value;
  asm volatile("or.b32 %0, %1, %2;" : "=r"(value) : "r"(word), "r"(zero));
  return value;
}

// Keeps writes to A's registers behind the wait for the wgmmas that read them.
template <int kTaps>
__device__ __forceinline__ void settle(uint32_t (&taps)[kTaps][4]) {
#pragma unroll
  for (int i = 0; i < kTaps * 4; ++i) asm volatile("" : "+r"(taps[i / 4][i % 4]));
}

}  // namespace convt3d::cuda::line_weight
