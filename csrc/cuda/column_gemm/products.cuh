// SPDX-License-Identifier: BSD-3-Clause
// One step of a product on tensor cores, in the arithmetic of a precision.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "plan/description.h"

namespace convt3d::cuda::column_gemm {

// d = a * b in TF32, from zero.
__device__ __forceinline__ void multiply_from_zero(float (&d)[4], const uint32_t (&a)[4],
                                                   const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.f));
}

// An operand as it lies in memory, as tensor cores take it: TF32 is rounded, and fp32 is two parts
// of which `rest` is the small one.
template <Precision kPrecision, int n>
__device__ __forceinline__ void prepare_operand(uint32_t (&x)[n], uint32_t (&rest)[n]) {
  if constexpr (kPrecision == Precision::fp32) {
    uint32_t exact[n];
#pragma unroll
    for (int i = 0; i < n; ++i) exact[i] = x[i];
    split_tf32(exact, x, rest);
  } else if constexpr (kPrecision == Precision::tf32) {
#pragma unroll
    for (uint32_t& value : x) value = round_to_tf32(value);
  }
}

// sum += a * b. Tensor cores truncate as they accumulate: fp32's three products start from zero,
// the small ones first, and are added with rounding.
template <Precision kPrecision>
__device__ __forceinline__ void add_products(float (&sum)[4], const uint32_t (&a)[4],
                                             const uint32_t (&a_rest)[4], const uint32_t (&b)[2],
                                             const uint32_t (&b_rest)[2]) {
  using T = ElementOf<kPrecision>;
  if constexpr (kPrecision == Precision::fp32) {
    float part[4];
    multiply_from_zero(part, a_rest, b);
    mma_sync<T>(part, a, b_rest);
    mma_sync<T>(part, a, b);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] += part[i];
  } else {
    mma_sync<T>(sum, a, b);
  }
}

}  // namespace convt3d::cuda::column_gemm
