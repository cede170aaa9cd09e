// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The thread's number, so that what depends on it is computed here and not before the first stage,
// where ptxas has no registers to keep it in.
__device__ __forceinline__ int thread_here() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

#endif

}  // namespace convt3d::cuda::halo_gemm
