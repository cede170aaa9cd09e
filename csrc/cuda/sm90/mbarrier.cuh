// SPDX-License-Identifier: BSD-3-Clause
// Shared-memory barriers with phases. `parity` is that of the phase waited for: 0, 1, 0, 1, ...
// All but the bulk copies is there from compute capability 8.0 on.
#pragma once
#include <cstdint>

namespace convt3d::cuda::sm90 {

__device__ __forceinline__ void barrier_init(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}

// Makes the initialised barriers visible to the bulk copy engine; a __syncthreads() follows.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and keeps the phase open until `bytes` have been copied in.
__device__ __forceinline__ void barrier_arrive_expect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Arrives once all earlier cp.async of this thread have landed.
__device__ __forceinline__ void barrier_arrive_after_copies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n .reg .pred done;\n"
#if __CUDA_ARCH__ >= 900
      "wait_%=:\n mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
#else  // does not suspend the thread
      "wait_%=:\n mbarrier.test_wait.parity.shared::cta.b64 done, [%0], %1;\n"
#endif
      " @done bra done_%=;\n bra wait_%=;\n"
      "done_%=:\n}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// Contiguous bytes from global to shared memory; both 16-byte aligned. Completes on the barrier.
__device__ __forceinline__ void bulk_copy(uint32_t destination, const void* source, uint32_t bytes,
                                          uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(destination),
      "l"(source), "r"(bytes), "r"(barrier)
      : "memory");
}

}  // namespace convt3d::cuda::sm90
