// SPDX-License-Identifier: BSD-3-Clause
// A of patch_kernel's wgmmas, from a chunk of grad_output in shared memory to registers.
#pragma once
#include <cstdint>

#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/shuffle_gemm/patch_params.h"

namespace convt3d::cuda::shuffle_gemm {

// 8 bytes at a multiple of 8.
__device__ __forceinline__ void load_shared_pair(uint32_t address, uint32_t* first,
                                                 uint32_t* second) {
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
               : "=r"(*first), "=r"(*second)
               : "r"(address)
               : "memory");
}

// A of some steps of K in NCDHW: `row` and `word` lead to a thread's words; `word` has two offsets
// of 16 bits for each step.
template <typename T, int kSteps>
__device__ __forceinline__ void load_words(const PatchParams& p, uint32_t (&a)[kSteps][4],
                                           uint32_t source, const int (&row)[2],
                                           const uint32_t* word) {
  const auto at = [&](int row_half, int step, int half) {
    return source + row[row_half] + (half ? word[step] >> 16 : word[step] & 0xFFFF);
  };
  if (sizeof(T) == 2 && p.joins_words) {
#pragma unroll
    for (int i = 0; i < 2 * kSteps; ++i) {
      load_shared_pair(at(0, i / 2, i % 2), &a[i / 2][i % 2 * 2], &a[i / 2][i % 2 * 2 + 1]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4 * kSteps; ++i) a[i / 4][i % 4] = load_shared(at(i % 2, i / 4, i % 4 / 2));
  }
}

// The same in NDHWC, of 32-bit elements: `source` is at the warpgroup's first row.
__device__ __forceinline__ void load_rows(uint32_t (&a)[4][4], uint32_t source) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = static_cast<int>(threadIdx.x) / 32 % 4 * 16 + lane % 16;
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    load_matrices(a[step], source + row * kPatchChunk + ((2 * step + lane / 16) ^ row % 8) * 16);
  }
}

}  // namespace convt3d::cuda::shuffle_gemm
