// SPDX-License-Identifier: BSD-3-Clause
// wgmma: D[64 x N] += A[64 x 32 bytes] * B[32 bytes x N] of one warpgroup, A in registers, B in
// shared memory. Thread t of the warpgroup holds, as with mma.sync, rows 16 * (t / 32) + t % 32 / 4
// and 8 below it: d[4 * j + {0, 1}] of the first and d[4 * j + {2, 3}] of the second are columns
// 8 * j + 2 * (t % 4) + {0, 1}.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/sm90/wgmma_lists.cuh"

namespace convt3d::cuda::sm90 {

// B without swizzle: 8 columns x 16 bytes of K are 128 contiguous bytes, the other 16 bytes of K
// follow, and then the next 8 columns.
__device__ __forceinline__ uint64_t b_descriptor(uint32_t address) {
  constexpr uint64_t kNextK = 128 >> 4, kNextColumns = 256 >> 4;
  return uint64_t{(address & 0x3FFFF) >> 4} | kNextK << 16 | kNextColumns << 32;
}

// Before the first wgmma after registers of A or D were written.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits for all but the `kPending` youngest groups.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Keeps uses of the sums behind the wait for the wgmmas that write them.
template <int kSums>
__device__ __forceinline__ void pin(float (&sum)[kSums]) {
#pragma unroll
  for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(sum[i])::"memory");
}
template <int kTiles, int kSums>
__device__ __forceinline__ void pin(float (&sum)[kTiles][kSums]) {
#pragma unroll
  for (int i = 0; i < kTiles * kSums; ++i) {
    asm volatile("" : "+f"(sum[i / kSums][i % kSums])::"memory");
  }
}

// Arithmetic of the tensor cores; float stands for TF32.
template <typename T, int kColumns>
struct Wgmma;

// accumulate: whether D is added to, or overwritten.
#define CONVT3D_WGMMA(T, N, KIND, TRANSPOSE, LIST, A0, A1, A2, A3, B, ACC, ...)                   \
  template <>                                                                                     \
  struct Wgmma<T, N> {                                                                            \
    static __device__ __forceinline__ void run(float (&d)[N / 2], const uint32_t (&a)[4],         \
                                               uint64_t b, int accumulate) {                      \
      asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, " ACC                                      \
                   ", 0;\n wgmma.mma_async.sync.aligned.m64n" #N KIND " {" LIST "}, {" A0 ", " A1 \
                   ", " A2 ", " A3 "}, " B ", p, 1, 1" TRANSPOSE ";\n}"                           \
                   : __VA_ARGS__                                                                  \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));        \
    }                                                                                             \
  };
#define CONVT3D_WGMMA_TF32(N, LIST, A0, A1, A2, A3, B, ACC, ...) \
  CONVT3D_WGMMA(float, N, "k8.f32.tf32.tf32", "", LIST, A0, A1, A2, A3, B, ACC, __VA_ARGS__)
#define CONVT3D_WGMMA_OF(N, LIST, A0, A1, A2, A3, B, ACC, ...)                                  \
  CONVT3D_WGMMA(__half, N, "k16.f32.f16.f16", ", 0", LIST, A0, A1, A2, A3, B, ACC, __VA_ARGS__) \
  CONVT3D_WGMMA(__nv_bfloat16, N, "k16.f32.bf16.bf16", ", 0", LIST, A0, A1, A2, A3, B, ACC,     \
                __VA_ARGS__)                                                                    \
  CONVT3D_WGMMA_TF32(N, LIST, A0, A1, A2, A3, B, ACC, __VA_ARGS__)

CONVT3D_WGMMA_OF(16, CONVT3D_D8, "%8", "%9", "%10", "%11", "%12", "%13", CONVT3D_O8)
CONVT3D_WGMMA_OF(32, CONVT3D_D16, "%16", "%17", "%18", "%19", "%20", "%21", CONVT3D_O16)
CONVT3D_WGMMA_OF(48, CONVT3D_D24, "%24", "%25", "%26", "%27", "%28", "%29", CONVT3D_O24)
CONVT3D_WGMMA_OF(64, CONVT3D_D32, "%32", "%33", "%34", "%35", "%36", "%37", CONVT3D_O32)
CONVT3D_WGMMA_TF32(72, CONVT3D_D36, "%36", "%37", "%38", "%39", "%40", "%41", CONVT3D_O36)
CONVT3D_WGMMA_OF(96, CONVT3D_D48, "%48", "%49", "%50", "%51", "%52", "%53", CONVT3D_O48)
CONVT3D_WGMMA_OF(128, CONVT3D_D64, "%64", "%65", "%66", "%67", "%68", "%69", CONVT3D_O64)
CONVT3D_WGMMA_TF32(144, CONVT3D_D72, "%72", "%73", "%74", "%75", "%76", "%77", CONVT3D_O72)
CONVT3D_WGMMA_TF32(192, CONVT3D_D96, "%96", "%97", "%98", "%99", "%100", "%101", CONVT3D_O96)

#undef CONVT3D_WGMMA
#undef CONVT3D_WGMMA_TF32
#undef CONVT3D_WGMMA_OF

}  // namespace convt3d::cuda::sm90
