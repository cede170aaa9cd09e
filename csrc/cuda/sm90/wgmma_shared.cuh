// SPDX-License-Identifier: BSD-3-Clause
// wgmma: D[64 x N] += A[64 x 32 bytes] * B[32 bytes x N] of one warpgroup, both in shared memory.
// D lies in registers as in wgmma.cuh.
//
// A is a swizzled tile of rows of 128 bytes, as TMA writes it: 16-byte piece i of a row lies at
// i ^ (address / 128 % 8). The hardware applies the same to the addresses that it forms, not to row
// numbers, and so a matrix may start at any row of a tile, base_offset 0.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace convt3d::cuda::sm90 {

// 64 rows from `address` on, which is that of any row plus 32 bytes per step of K.
__device__ __forceinline__ uint64_t swizzled_descriptor(uint32_t address) {
  constexpr uint64_t kNextRows = 8 * 128 >> 4, kSwizzle128 = 1;
  return uint64_t{(address & 0x3FFFF) >> 4} | uint64_t{1} << 16 | kNextRows << 32 |
         kSwizzle128 << 62;
}

// Arithmetic of the tensor cores; float stands for TF32.
template <typename T, int kColumns>
struct WgmmaShared;

#define CONVT3D_F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define CONVT3D_F12(i) CONVT3D_F4(i), CONVT3D_F4(i + 4), CONVT3D_F4(i + 8)
#define CONVT3D_WGMMA(T, N, KIND, TRANSPOSE, LIST, A, B, ...)                               \
  template <>                                                                               \
  struct WgmmaShared<T, N> {                                                                \
    static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b) { \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N KIND " {" LIST "}, " A ", " B     \
                   ", 1, 1, 1" TRANSPOSE ";"                                                \
                   : __VA_ARGS__                                                            \
                   : "l"(a), "l"(b));                                                       \
    }                                                                                       \
  };
#define CONVT3D_WGMMA_OF(N, LIST, A, B, ...)                                              \
  CONVT3D_WGMMA(__half, N, "k16.f32.f16.f16", ", 0, 0", LIST, A, B, __VA_ARGS__)          \
  CONVT3D_WGMMA(__nv_bfloat16, N, "k16.f32.bf16.bf16", ", 0, 0", LIST, A, B, __VA_ARGS__) \
  CONVT3D_WGMMA(float, N, "k8.f32.tf32.tf32", "", LIST, A, B, __VA_ARGS__)

#define CONVT3D_D12 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11"
#define CONVT3D_D24 CONVT3D_D12 ", %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23"
#define CONVT3D_D36 CONVT3D_D24 ", %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35"
#define CONVT3D_D48 CONVT3D_D36 ", %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define CONVT3D_D60 CONVT3D_D48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59"
#define CONVT3D_D72 CONVT3D_D60 ", %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71"
#define CONVT3D_D84 CONVT3D_D72 ", %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83"
#define CONVT3D_D96 CONVT3D_D84 ", %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define CONVT3D_D32 CONVT3D_D24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define CONVT3D_D64 CONVT3D_D60 ", %60, %61, %62, %63"
#define CONVT3D_O12 CONVT3D_F12(0)
#define CONVT3D_O24 CONVT3D_O12, CONVT3D_F12(12)
#define CONVT3D_O36 CONVT3D_O24, CONVT3D_F12(24)
#define CONVT3D_O48 CONVT3D_O36, CONVT3D_F12(36)
#define CONVT3D_O60 CONVT3D_O48, CONVT3D_F12(48)
#define CONVT3D_O72 CONVT3D_O60, CONVT3D_F12(60)
#define CONVT3D_O84 CONVT3D_O72, CONVT3D_F12(72)
#define CONVT3D_O96 CONVT3D_O84, CONVT3D_F12(84)
#define CONVT3D_O32 CONVT3D_O24, CONVT3D_F4(24), CONVT3D_F4(28)
#define CONVT3D_O64 CONVT3D_O60, CONVT3D_F4(60)

CONVT3D_WGMMA_OF(64, CONVT3D_D32, "%32", "%33", CONVT3D_O32)
CONVT3D_WGMMA_OF(72, CONVT3D_D36, "%36", "%37", CONVT3D_O36)
CONVT3D_WGMMA_OF(96, CONVT3D_D48, "%48", "%49", CONVT3D_O48)
CONVT3D_WGMMA_OF(128, CONVT3D_D64, "%64", "%65", CONVT3D_O64)
CONVT3D_WGMMA_OF(144, CONVT3D_D72, "%72", "%73", CONVT3D_O72)
CONVT3D_WGMMA_OF(192, CONVT3D_D96, "%96", "%97", CONVT3D_O96)

#undef CONVT3D_F4
#undef CONVT3D_F12
#undef CONVT3D_WGMMA
#undef CONVT3D_WGMMA_OF
#undef CONVT3D_D12
#undef CONVT3D_D24
#undef CONVT3D_D36
#undef CONVT3D_D48
#undef CONVT3D_D60
#undef CONVT3D_D72
#undef CONVT3D_D84
#undef CONVT3D_D96
#undef CONVT3D_D32
#undef CONVT3D_D64
#undef CONVT3D_O12
#undef CONVT3D_O24
#undef CONVT3D_O36
#undef CONVT3D_O48
#undef CONVT3D_O60
#undef CONVT3D_O72
#undef CONVT3D_O84
#undef CONVT3D_O96
#undef CONVT3D_O32
#undef CONVT3D_O64

}  // namespace convt3d::cuda::sm90
