// SPDX-License-Identifier: BSD-3-Clause
// wgmma of wgmma_shared.cuh with 128 or 256 columns, both operands in rows of 64 swizzled bytes of
// K, as in plane_wgmma.cuh; TF32 in 256 columns, too.
#pragma once
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::halo_gemm {

template <typename T, int kColumns>
struct PairedWgmma : sm90::WgmmaShared<T, kColumns> {};

#define CONVT3D_F8(i)                                                                         \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define CONVT3D_F32(i) CONVT3D_F8(i), CONVT3D_F8(i + 8), CONVT3D_F8(i + 16), CONVT3D_F8(i + 24)

template <>
struct PairedWgmma<float, 256> {
  static __device__ __forceinline__ void run(float (&d)[128], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k8.f32.tf32.tf32 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "
        "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "
        "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, "
        "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, "
        "%70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, "
        "%87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, "
        "%103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, "
        "%117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, %128, %129, 1, 1, 1;"
        : CONVT3D_F32(0), CONVT3D_F32(32), CONVT3D_F32(64), CONVT3D_F32(96)
        : "l"(a), "l"(b));
  }
};

#undef CONVT3D_F8
#undef CONVT3D_F32

}  // namespace convt3d::cuda::halo_gemm
