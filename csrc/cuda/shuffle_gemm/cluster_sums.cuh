// SPDX-License-Identifier: BSD-3-Clause
// Blocks of one cluster that put their sums where one of them adds them up: in its shared memory,
// so that it waits once, for all at the same time, and no block waits for another's reads
// (compute capability 9.0 and later; elsewhere no launch has clusters, and nothing here is called).
#pragma once
#include <cstdint>

namespace convt3d::cuda::shuffle_gemm {

// By all threads, at a block's start: others may write to its shared memory.
__device__ __forceinline__ void announce_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

// By all threads, before the block writes to others: they have started.
__device__ __forceinline__ void wait_for_starts() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// To `address`, one of this block's own, in the block of that rank: 16 bytes of what `barrier`,
// also that block's own, waits for.
__device__ __forceinline__ void send_to_block(uint32_t address, uint32_t barrier, uint32_t rank,
                                              float x, float y, float z, float w) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .u32 there, done;\n"
      "mapa.shared::cluster.u32 there, %0, %2;\n"
      "mapa.shared::cluster.u32 done, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [there], {%3, %4, %5, %6},"
      " [done];\n}" ::"r"(address),
      "r"(barrier), "r"(rank), "f"(x), "f"(y), "f"(z), "f"(w)
      : "memory");
#endif
}

}  // namespace convt3d::cuda::shuffle_gemm
