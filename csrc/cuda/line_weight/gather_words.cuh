// SPDX-License-Identifier: BSD-3-Clause
// A of gather_kernel.cuh: of two rows, 16 (TF32: 8) positions of a line of grad_output, for its
// three taps along w. A lane's positions are 2 q and 2 q + 1, q its number of four, and those 8 on
// (TF32: q, and 4 on).
//
//   16 bits, words of the line from a lane's first tap on, where that is a word's lower half
//   (even):
//     (0 1) (2 3) (4 5)     tap 0: 0 2     tap 1: 1 3     tap 2: 2 4
//   and where it is the upper one (odd):
//     (. 0) (1 2) (3 4)
//   TF32: a word for each tap
#pragma once
#include "cuda/common/shared_words.cuh"
#include "cuda/line_weight/consume.cuh"
#include "cuda/line_weight/gather_load.cuh"

namespace convt3d::cuda::line_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

using GatherTaps = uint32_t[kGatherKernel][4];

__device__ __forceinline__ uint32_t pick(uint32_t a, uint32_t b, uint32_t bytes) {
  uint32_t value;
  asm volatile("prmt.b32 %0, %1, %2, %3;" : "=r"(value) : "r"(a), "r"(b), "r"(bytes));
  return value;
}

__device__ __forceinline__ uint32_t rounded(uint32_t word) {
  uint32_t value;
  asm volatile("cvt.rn.tf32.f32 %0, %1;" : "=r"(value) : "f"(__uint_as_float(word)));
  return value;
}

// What a lane loads for two rows, at a line's next positions and those half an instruction on: two
// words at once, on 8 bytes, and the third, before or behind them.
struct GatherWords {
  uint32_t pair[2][2][2], single[2][2];
};

// `row`: addresses of the rows' first tap, or, of lines that begin on 16 bytes (where padding is
// 1), of the word that ends with it.
template <bool kOdd>
__device__ __forceinline__ void load_gathered(const uint32_t (&row)[2], GatherWords& words) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint32_t single = kOdd ? (row[i] | 7) + 1 - (row[i] & 4) : row[i];
    const uint32_t pair = kOdd ? (row[i] + 4) & ~7u : row[i] + 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      words.single[i][half] = load_shared(single + half * kGatherDepthBytes);
      load_words(words.pair[i][half], pair + half * kGatherDepthBytes);
    }
  }
}

// A of all taps. TMA has rounded those of TF32 whose lines begin on 16 bytes.
template <int kBytes, bool kOdd>
__device__ __forceinline__ void pick_taps(const uint32_t (&row)[2], const GatherWords& words,
                                          uint32_t zero, GatherTaps& taps) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool behind = kOdd && (row[i] & 4) == 0;  // the single word
    const bool odd = !kOdd || (row[i] & 2) != 0;
    const uint32_t outer = odd ? 0x7632 : 0x5410, middle = odd ? 0x1054 : 0x7632;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t single = words.single[i][half], *pair = words.pair[i][half];
      const uint32_t word[3] = {behind ? pair[0] : single, behind ? pair[1] : pair[0],
                                behind ? single : pair[1]};
      uint32_t value[kGatherKernel];
      if constexpr (kBytes == 4) {
#pragma unroll
        for (int tap = 0; tap < kGatherKernel; ++tap) {
          value[tap] = kOdd ? rounded(word[tap]) : with(word[tap], zero);
        }
      } else if constexpr (kOdd) {
        value[0] = pick(word[0], word[1], outer);
        value[1] = pick(odd ? word[2] : word[0], word[1], middle);
        value[2] = pick(word[1], word[2], outer);
      } else {
        value[0] = upper(word[0], word[1]);
        value[1] = lower(word[1], word[2]);
        value[2] = upper(word[1], word[2]);
      }
#pragma unroll
      for (int tap = 0; tap < kGatherKernel; ++tap) taps[tap][2 * half + i] = value[tap];
    }
  }
}

// Zeros for what lies outside the line. `element`: of the lane's first position's first tap.
template <int kBytes>
__device__ __forceinline__ void clear_outside(const GatherParams& p, int element,
                                              GatherTaps& taps) {
  constexpr int kNext = kBytes == 2 ? kGatherStride : 0;  // the word's second position
  const auto low = [&](int at) {
    return static_cast<unsigned>(at) < static_cast<unsigned>(p.output_extent[2]) ? 0xFFFFu : 0u;
  };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int tap = 0; tap < kGatherKernel; ++tap) {
      const int at = element + half * kGatherStride * gather_depth(kBytes) / 2 + tap;
      const uint32_t inside = low(at) | low(at + kNext) << 16;
#pragma unroll
      for (int i = 0; i < 2; ++i) taps[tap][2 * half + i] &= inside;
    }
  }
}

#endif

}  // namespace convt3d::cuda::line_weight
