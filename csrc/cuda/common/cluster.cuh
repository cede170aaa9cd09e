// SPDX-License-Identifier: BSD-3-Clause
// Blocks of one cluster that use each other's shared memory (compute capability 9.0 and later).
// Elsewhere no launch has clusters, and nothing here is called.
#pragma once
#include <cstdint>

namespace convt3d::cuda {

// All threads of all blocks of the cluster arrive and wait: what they wrote to shared memory before
// can be read by all of them behind it.
__device__ __forceinline__ void cluster_barrier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
#endif
}

// 16 bytes at `address`, one of this block's own, in the block of that rank.
__device__ __forceinline__ float4 load_from_block(uint32_t address, uint32_t rank) {
  float4 value{};
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .u32 there;\n"
      "mapa.shared::cluster.u32 there, %4, %5;\n"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [there];\n}"
      : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
      : "r"(address), "r"(rank)
      : "memory");
#endif
  return value;
}

// To there, so that behind a barrier that block reads it.
__device__ __forceinline__ void store_in_block(uint32_t address, uint32_t rank, const float* four) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .u32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "st.shared::cluster.v4.f32 [there], {%2, %3, %4, %5};\n}" ::"r"(address),
      "r"(rank), "f"(four[0]), "f"(four[1]), "f"(four[2]), "f"(four[3])
      : "memory");
#endif
}

}  // namespace convt3d::cuda
