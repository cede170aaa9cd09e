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

#include "cuda/sm90/wgmma_lists.cuh"

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

CONVT3D_WGMMA_16(16, CONVT3D_D8, "%8", "%9", "%10, %11", CONVT3D_O8)
CONVT3D_WGMMA_OF(32, CONVT3D_D16, "%16", "%17", "%18, %19", CONVT3D_O16)
CONVT3D_WGMMA_OF(48, CONVT3D_D24, "%24", "%25", "%26, %27", CONVT3D_O24)
CONVT3D_WGMMA_OF(64, CONVT3D_D32, "%32", "%33", "%34, %35", CONVT3D_O32)
CONVT3D_WGMMA_OF(72, CONVT3D_D36, "%36", "%37", "%38, %39", CONVT3D_O36)
CONVT3D_WGMMA_OF(96, CONVT3D_D48, "%48", "%49", "%50, %51", CONVT3D_O48)
CONVT3D_WGMMA_OF(128, CONVT3D_D64, "%64", "%65", "%66, %67", CONVT3D_O64)
CONVT3D_WGMMA_OF(144, CONVT3D_D72, "%72", "%73", "%74, %75", CONVT3D_O72)
CONVT3D_WGMMA_OF(192, CONVT3D_D96, "%96", "%97", "%98, %99", CONVT3D_O96)
CONVT3D_WGMMA_OF(224, CONVT3D_D112, "%112", "%113", "%114, %115", CONVT3D_O112)
CONVT3D_WGMMA_OF(240, CONVT3D_D120, "%120", "%121", "%122, %123", CONVT3D_O120)
CONVT3D_WGMMA_OF(256, CONVT3D_D128, "%128", "%129", "%130, %131", CONVT3D_O128)

#undef CONVT3D_WGMMA
#undef CONVT3D_WGMMA_16
#undef CONVT3D_WGMMA_OF
#undef CONVT3D_BOTH
#undef CONVT3D_NONE

}  // namespace convt3d::cuda::sm90
