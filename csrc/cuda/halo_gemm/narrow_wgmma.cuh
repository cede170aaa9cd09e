// SPDX-License-Identifier: BSD-3-Clause
// wgmma of wgmma_shared.cuh in TF32 with 32 and 48 columns.
#pragma once
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::sm90 {

#define CONVT3D_F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define CONVT3D_F16 CONVT3D_F4(0), CONVT3D_F4(4), CONVT3D_F4(8), CONVT3D_F4(12)
#define CONVT3D_D16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define CONVT3D_WGMMA(N, LIST, A, B, ...)                                                          \
  template <>                                                                                      \
  struct WgmmaShared<float, N> {                                                                   \
    static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b) {        \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" LIST "}, " A ", " B \
                   ", 1, 1, 1;"                                                                    \
                   : __VA_ARGS__                                                                   \
                   : "l"(a), "l"(b));                                                              \
    }                                                                                              \
  };

CONVT3D_WGMMA(32, CONVT3D_D16, "%16", "%17", CONVT3D_F16)
CONVT3D_WGMMA(48, CONVT3D_D16 ", %16, %17, %18, %19, %20, %21, %22, %23", "%24", "%25", CONVT3D_F16,
              CONVT3D_F4(16), CONVT3D_F4(20))

#undef CONVT3D_F4
#undef CONVT3D_F16
#undef CONVT3D_D16
#undef CONVT3D_WGMMA

}  // namespace convt3d::cuda::sm90
