// SPDX-License-Identifier: BSD-3-Clause
// mma.sync and the loads of its operands (compute capability 8.0 and later). A warp multiplies
// A[16 x 32 bytes of K] by B[32 bytes of K x 8]. With row = lane / 4 and quad = lane % 4:
//   a[0], a[1]   rows `row` and `row` + 8, 4 bytes of K at 4 * quad     a[2], a[3]   16 bytes of K
//   on b[0], b[1]   column `row`, 4 bytes of K at 4 * quad, and 16 bytes on d[0], d[1]   row `row`,
//   columns 2 * quad and 2 * quad + 1           d[2], d[3]   row `row` + 8
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace convt3d::cuda {

#define CONVT3D_MMA(KIND)                                                                         \
  asm("mma.sync.aligned." KIND " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                            \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

// d += a * b; float stands for TF32.
template <typename T>
__device__ __forceinline__ void mma_sync(float (&d)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]);
template <>
__device__ __forceinline__ void mma_sync<__half>(float (&d)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2]) {
  CONVT3D_MMA("m16n8k16.row.col.f32.f16.f16.f32");
}
template <>
__device__ __forceinline__ void mma_sync<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4],
                                                        const uint32_t (&b)[2]) {
  CONVT3D_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
}
template <>
__device__ __forceinline__ void mma_sync<float>(float (&d)[4], const uint32_t (&a)[4],
                                                const uint32_t (&b)[2]) {
  CONVT3D_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
}
#undef CONVT3D_MMA

// float to TF32, to nearest even. NaN stays NaN; beyond the largest TF32 is infinity.
__device__ __forceinline__ uint32_t round_to_tf32(uint32_t bits) {
#if __CUDA_ARCH__ >= 900
  uint32_t rounded;
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
#else
  constexpr uint32_t kDropped = (1u << 13) - 1;
  const uint32_t rounded = (bits + (kDropped >> 1) + (bits >> 13 & 1)) & ~kDropped;
  return isnan(__uint_as_float(bits)) ? bits : rounded;
#endif
}

__device__ __forceinline__ float round_to_tf32(float value) {
  return __uint_as_float(round_to_tf32(__float_as_uint(value)));
}

// x = high + low up to 2**-22 of x, both TF32, where both are finite and not denormal.
template <int n>
__device__ __forceinline__ void split_tf32(const uint32_t (&x)[n], uint32_t (&high)[n],
                                           uint32_t (&low)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    high[i] = round_to_tf32(x[i]);
    low[i] = round_to_tf32(__float_as_uint(__uint_as_float(x[i]) - __uint_as_float(high[i])));
  }
}

// Four 8 x 16-byte matrices. Lanes 8 * i .. 8 * i + 7 give the row addresses of matrix i, whose
// part of this lane is 4 bytes of row lane / 4.
__device__ __forceinline__ void load_matrices(uint32_t (&part)[4], uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(part[0]), "=r"(part[1]), "=r"(part[2]), "=r"(part[3])
               : "r"(row_address)
               : "memory");
}

// Two matrices; lanes 0 .. 15 give their rows.
__device__ __forceinline__ void load_two_matrices(uint32_t (&part)[2], uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(part[0]), "=r"(part[1])
               : "r"(row_address)
               : "memory");
}

__device__ __forceinline__ void load_two_matrices_transposed(uint32_t (&part)[2],
                                                             uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(part[0]), "=r"(part[1])
               : "r"(row_address)
               : "memory");
}

// Four matrices of 16-bit elements, each transposed.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&part)[4],
                                                         uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(part[0]), "=r"(part[1]), "=r"(part[2]), "=r"(part[3])
               : "r"(row_address)
               : "memory");
}

}  // namespace convt3d::cuda
