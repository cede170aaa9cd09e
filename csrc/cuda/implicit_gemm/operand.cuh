// SPDX-License-Identifier: BSD-3-Clause
// What a precision means to the kernel: the element, and how it reaches the tensor cores.
//
// fp32 is three TF32 products: with x = hi + lo, both TF32, x * y is hi * hi + hi * lo + lo * hi up
// to 2^-22. Tensor cores truncate as they accumulate, so no sum there is longer than one step of
// the main loop; the sums are added in registers.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::implicit_gemm {

__device__ __forceinline__ uint32_t round_tf32(uint32_t bits) {
  uint32_t rounded;
  asm volatile("cvt.rn.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}
__device__ __forceinline__ float round_tf32(float value) {
  return __uint_as_float(round_tf32(__float_as_uint(value)));
}

template <typename Element>
struct Operand16 {
  using T = Element;
  static constexpr int kParts = 1;
  static __device__ T round(T value) { return value; }
  static __device__ T rest(T value) { return value; }
};

template <Precision>
struct Operand;
template <>
struct Operand<Precision::fp16> : Operand16<__half> {};
template <>
struct Operand<Precision::bf16> : Operand16<__nv_bfloat16> {};
template <>
struct Operand<Precision::tf32> {
  using T = float;
  static constexpr int kParts = 1;
  static __device__ float round(float value) { return round_tf32(value); }
  static __device__ float rest(float value) { return value; }
};
template <>
struct Operand<Precision::fp32> {
  using T = float;
  static constexpr int kParts = 2;
  static __device__ float round(float value) { return round_tf32(value); }
  static __device__ float rest(float value) { return round_tf32(value - round_tf32(value)); }
};

}  // namespace convt3d::cuda::implicit_gemm
