// SPDX-License-Identifier: BSD-3-Clause
// wgmma of wgmma_shared.cuh with 192 to 256 columns, both operands in rows of 64 swizzled bytes of
// K: 16-byte piece i of a row lies at i ^ (address / 128 % 4), and a matrix may start at any row.
#pragma once
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::halo_gemm {

// Of the rows from `address` on, plus 32 bytes per step of K.
__device__ __forceinline__ uint64_t plane_descriptor(uint32_t address, int row_bytes) {
  return sm90::descriptor(address >> 4 | 1u << 16, sm90::mn_descriptor_high(row_bytes));
}

template <typename T, int kColumns>
struct PlaneWgmma {
  static __device__ __forceinline__ void run(float (&d)[kColumns / 2], uint64_t a, uint64_t b) {
    sm90::WgmmaShared<T, kColumns>::run(d, a, b);
  }
};

#define CONVT3D_F8(i)                                                                         \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define CONVT3D_F16(i) CONVT3D_F8(i), CONVT3D_F8(i + 8)
#define CONVT3D_F48(i) CONVT3D_F16(i), CONVT3D_F16(i + 16), CONVT3D_F16(i + 32)
#define CONVT3D_WGMMA(T, N, KIND, TRANSPOSE, LIST, A, B, ...)                               \
  template <>                                                                               \
  struct PlaneWgmma<T, N> {                                                                 \
    static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b) { \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N KIND " {" LIST "}, " A ", " B     \
                   ", 1, 1, 1" TRANSPOSE ";"                                                \
                   : __VA_ARGS__                                                            \
                   : "l"(a), "l"(b));                                                       \
    }                                                                                       \
  };

#define CONVT3D_D112                                                             \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16"    \
  ", %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"  \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46"  \
  ", %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61"  \
  ", %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76"  \
  ", %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91"  \
  ", %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105" \
  ", %106, %107, %108, %109, %110, %111"
#define CONVT3D_D120 CONVT3D_D112 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define CONVT3D_D128 CONVT3D_D120 ", %120, %121, %122, %123, %124, %125, %126, %127"

CONVT3D_WGMMA(__half, 224, "k16.f32.f16.f16", ", 0, 0", CONVT3D_D112, "%112", "%113",
              CONVT3D_F48(0), CONVT3D_F48(48), CONVT3D_F16(96))
CONVT3D_WGMMA(__nv_bfloat16, 224, "k16.f32.bf16.bf16", ", 0, 0", CONVT3D_D112, "%112", "%113",
              CONVT3D_F48(0), CONVT3D_F48(48), CONVT3D_F16(96))
CONVT3D_WGMMA(float, 224, "k8.f32.tf32.tf32", "", CONVT3D_D112, "%112", "%113", CONVT3D_F48(0),
              CONVT3D_F48(48), CONVT3D_F16(96))
CONVT3D_WGMMA(__half, 240, "k16.f32.f16.f16", ", 0, 0", CONVT3D_D120, "%120", "%121",
              CONVT3D_F48(0), CONVT3D_F48(48), CONVT3D_F16(96), CONVT3D_F8(112))
CONVT3D_WGMMA(__nv_bfloat16, 240, "k16.f32.bf16.bf16", ", 0, 0", CONVT3D_D120, "%120", "%121",
              CONVT3D_F48(0), CONVT3D_F48(48), CONVT3D_F16(96), CONVT3D_F8(112))
CONVT3D_WGMMA(float, 240, "k8.f32.tf32.tf32", "", CONVT3D_D120, "%120", "%121", CONVT3D_F48(0),
              CONVT3D_F48(48), CONVT3D_F16(96), CONVT3D_F8(112))
CONVT3D_WGMMA(float, 256, "k8.f32.tf32.tf32", "", CONVT3D_D128, "%128", "%129", CONVT3D_F48(0),
              CONVT3D_F48(48), CONVT3D_F16(96), CONVT3D_F16(112))

#undef CONVT3D_F8
#undef CONVT3D_F16
#undef CONVT3D_F48
#undef CONVT3D_WGMMA
#undef CONVT3D_D112
#undef CONVT3D_D120
#undef CONVT3D_D128

}  // namespace convt3d::cuda::halo_gemm
