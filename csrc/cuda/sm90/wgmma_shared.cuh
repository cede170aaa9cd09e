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

// Which way a swizzled tile of 16-bit elements lies: K along its rows (and B as b_descriptor() of
// wgmma.cuh describes it), or both operands' K down the rows: a row holds 64 elements of M or N
// (32 and 16 in rows of 64 and 32 bytes), and K may start at any row too. Of an operand whose K
// lies along rows of so many bytes, mn_descriptor_high() and _low() make the descriptor as well:
// `address` is that of its first 8 rows, 32 bytes further for each step of K, and `distance` means
// nothing.
enum class Major { k = 0, mn = 1 };

// What the descriptors of all matrices in tiles of such rows have in common, without address and
// without the distance of the next elements of M or N.
__host__ __device__ constexpr uint32_t mn_descriptor_high(int row_bytes) {
  const uint32_t swizzle = row_bytes == 128 ? 1 : row_bytes == 64 ? 2 : 3;
  return static_cast<uint32_t>(8 * row_bytes >> 4) | swizzle << 30;
}
// The other half: 16 rows of K from `address` on; `distance`: bytes from a row's elements to those
// of M or N that follow.
__host__ __device__ constexpr uint32_t mn_descriptor_low(uint32_t address, uint32_t distance) {
  return address >> 4 | (distance >> 4) << 16;
}
__device__ __forceinline__ uint64_t descriptor(uint32_t low, uint32_t high) {
  return uint64_t{high} << 32 | low;
}

// Arithmetic of the tensor cores; float stands for TF32, whose K is in rows.
template <typename T, int kColumns, Major kMajorA = Major::k, Major kMajorB = kMajorA>
struct WgmmaShared;

#define CONVT3D_F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define CONVT3D_F12(i) CONVT3D_F4(i), CONVT3D_F4(i + 4), CONVT3D_F4(i + 8)
#define CONVT3D_WGMMA(T, N, KIND, TRANSPOSE, LIST, A, B, MAJORS, ...)                       \
  template <Major kMajorA, Major kMajorB>                                                   \
  struct WgmmaShared<T, N, kMajorA, kMajorB> {                                              \
    static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b) { \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N KIND " {" LIST "}, " A ", " B     \
                   ", 1, 1, 1" TRANSPOSE(MAJORS) ";"                                        \
                   : __VA_ARGS__                                                            \
                   : "l"(a), "l"(b), "n"(static_cast<int>(kMajorA)),                        \
                     "n"(static_cast<int>(kMajorB)));                                       \
    }                                                                                       \
  };
#define CONVT3D_BOTH(MAJORS) ", " MAJORS
#define CONVT3D_NONE(MAJORS) ""
#define CONVT3D_WGMMA_16(N, LIST, A, B, MAJORS, ...)                                         \
  CONVT3D_WGMMA(__half, N, "k16.f32.f16.f16", CONVT3D_BOTH, LIST, A, B, MAJORS, __VA_ARGS__) \
  CONVT3D_WGMMA(__nv_bfloat16, N, "k16.f32.bf16.bf16", CONVT3D_BOTH, LIST, A, B, MAJORS,     \
                __VA_ARGS__)
#define CONVT3D_WGMMA_OF(N, LIST, A, B, MAJORS, ...)   \
  CONVT3D_WGMMA_16(N, LIST, A, B, MAJORS, __VA_ARGS__) \
  CONVT3D_WGMMA(float, N, "k8.f32.tf32.tf32", CONVT3D_NONE, LIST, A, B, MAJORS, __VA_ARGS__)

#define CONVT3D_D8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define CONVT3D_D16 CONVT3D_D8 ", %8, %9, %10, %11, %12, %13, %14, %15"
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
#define CONVT3D_D128 CONVT3D_D96 CONVT3D_D32_AT_96
#define CONVT3D_D32_AT_96                                                    \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107"     \
  ", %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119" \
  ", %120, %121, %122, %123, %124, %125, %126, %127"
#define CONVT3D_O8 CONVT3D_F4(0), CONVT3D_F4(4)
#define CONVT3D_O16 CONVT3D_O8, CONVT3D_F4(8), CONVT3D_F4(12)
#define CONVT3D_O12 CONVT3D_F12(0)
#define CONVT3D_O24 CONVT3D_O12, CONVT3D_F12(12)
#define CONVT3D_O36 CONVT3D_O24, CONVT3D_F12(24)
#define CONVT3D_O48 CONVT3D_O36, CONVT3D_F12(36)
#define CONVT3D_O60 CONVT3D_O48, CONVT3D_F12(48)
#define CONVT3D_O72 CONVT3D_O60, CONVT3D_F12(60)
#define CONVT3D_O84 CONVT3D_O72, CONVT3D_F12(72)
#define CONVT3D_O96 CONVT3D_O84, CONVT3D_F12(84)
#define CONVT3D_O128 \
  CONVT3D_O96, CONVT3D_F12(96), CONVT3D_F12(108), CONVT3D_F4(120), CONVT3D_F4(124)
#define CONVT3D_O32 CONVT3D_O24, CONVT3D_F4(24), CONVT3D_F4(28)
#define CONVT3D_O64 CONVT3D_O60, CONVT3D_F4(60)

CONVT3D_WGMMA_16(16, CONVT3D_D8, "%8", "%9", "%10, %11", CONVT3D_O8)
CONVT3D_WGMMA_16(32, CONVT3D_D16, "%16", "%17", "%18, %19", CONVT3D_O16)
CONVT3D_WGMMA_16(48, CONVT3D_D24, "%24", "%25", "%26, %27", CONVT3D_O24)
CONVT3D_WGMMA_OF(64, CONVT3D_D32, "%32", "%33", "%34, %35", CONVT3D_O32)
CONVT3D_WGMMA_OF(72, CONVT3D_D36, "%36", "%37", "%38, %39", CONVT3D_O36)
CONVT3D_WGMMA_OF(96, CONVT3D_D48, "%48", "%49", "%50, %51", CONVT3D_O48)
CONVT3D_WGMMA_OF(128, CONVT3D_D64, "%64", "%65", "%66, %67", CONVT3D_O64)
CONVT3D_WGMMA_OF(144, CONVT3D_D72, "%72", "%73", "%74, %75", CONVT3D_O72)
CONVT3D_WGMMA_OF(192, CONVT3D_D96, "%96", "%97", "%98, %99", CONVT3D_O96)
CONVT3D_WGMMA_16(256, CONVT3D_D128, "%128", "%129", "%130, %131", CONVT3D_O128)

#undef CONVT3D_F4
#undef CONVT3D_F12
#undef CONVT3D_WGMMA
#undef CONVT3D_WGMMA_16
#undef CONVT3D_WGMMA_OF
#undef CONVT3D_BOTH
#undef CONVT3D_NONE
#undef CONVT3D_D8
#undef CONVT3D_D16
#undef CONVT3D_D12
#undef CONVT3D_D128
#undef CONVT3D_D32_AT_96
#undef CONVT3D_D24
#undef CONVT3D_D36
#undef CONVT3D_D48
#undef CONVT3D_D60
#undef CONVT3D_D72
#undef CONVT3D_D84
#undef CONVT3D_D96
#undef CONVT3D_D32
#undef CONVT3D_D64
#undef CONVT3D_O8
#undef CONVT3D_O16
#undef CONVT3D_O128
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
