// SPDX-License-Identifier: BSD-3-Clause
// wgmma of wgmma.cuh in TF32 with 72, 144 and 192 columns.
#pragma once
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::sm90 {

#define CONVT3D_F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define CONVT3D_F12(i) CONVT3D_F4(i), CONVT3D_F4(i + 4), CONVT3D_F4(i + 8)
#define CONVT3D_F36(i) CONVT3D_F12(i), CONVT3D_F12(i + 12), CONVT3D_F12(i + 24)
#define CONVT3D_WGMMA(N, LIST, A, B, ...)                                                    \
  template <>                                                                                \
  struct Wgmma<float, N> {                                                                   \
    static __device__ __forceinline__ void run(float (&d)[N / 2], const uint32_t (&a)[4],    \
                                               uint64_t b, int) {                            \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" LIST "}, {" A \
                   "}, " B ", 1, 1, 1;"                                                      \
                   : __VA_ARGS__                                                             \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                    \
    }                                                                                        \
  };
#define CONVT3D_D12 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11"
#define CONVT3D_D24 CONVT3D_D12 ", %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23"
#define CONVT3D_D36 CONVT3D_D24 ", %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35"
#define CONVT3D_D48 CONVT3D_D36 ", %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define CONVT3D_D60 CONVT3D_D48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59"
#define CONVT3D_D72 CONVT3D_D60 ", %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71"
#define CONVT3D_D84 CONVT3D_D72 ", %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83"
#define CONVT3D_D96 CONVT3D_D84 ", %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"

CONVT3D_WGMMA(72, CONVT3D_D36, "%36, %37, %38, %39", "%40", CONVT3D_F36(0))
CONVT3D_WGMMA(144, CONVT3D_D72, "%72, %73, %74, %75", "%76", CONVT3D_F36(0), CONVT3D_F36(36))
CONVT3D_WGMMA(192, CONVT3D_D96, "%96, %97, %98, %99", "%100", CONVT3D_F36(0), CONVT3D_F36(36),
              CONVT3D_F12(72), CONVT3D_F12(84))

#undef CONVT3D_F4
#undef CONVT3D_F12
#undef CONVT3D_F36
#undef CONVT3D_WGMMA
#undef CONVT3D_D12
#undef CONVT3D_D24
#undef CONVT3D_D36
#undef CONVT3D_D48
#undef CONVT3D_D60
#undef CONVT3D_D72
#undef CONVT3D_D84
#undef CONVT3D_D96

}  // namespace convt3d::cuda::sm90
