// SPDX-License-Identifier: BSD-3-Clause
// Pairs and quads of words: loaded, packed, and exchanged between lanes.
#pragma once
#include <cstdint>

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The thread's number, so that what depends on it is computed here and not before the first stage,
// where ptxas has no registers to keep it in.
__device__ __forceinline__ int thread_here() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

__device__ __forceinline__ uint32_t exchange_rows(uint32_t pair) {
  uint32_t result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

// Both aligned on their size.
__device__ __forceinline__ uint2 load_two_words(uint32_t address) {
  uint2 value;
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
               : "=r"(value.x), "=r"(value.y)
               : "r"(address)
               : "memory");
  return value;
}
__device__ __forceinline__ uint4 load_four_words(uint32_t address) {
  uint4 value;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(address)
               : "memory");
  return value;
}

#endif

}  // namespace convt3d::cuda::halo_gemm
