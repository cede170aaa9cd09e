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

#include "cuda/common/mma_sync.cuh"
#include "plan/description.h"

namespace convt3d::cuda::implicit_gemm {

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
  static __device__ float round(float value) { return round_to_tf32(value); }
  static __device__ float rest(float value) { return value; }
};
template <>
struct Operand<Precision::fp32> {
  using T = float;
  static constexpr int kParts = 2;
  static __device__ float round(float value) { return round_to_tf32(value); }
  static __device__ float rest(float value) { return round_to_tf32(value - round_to_tf32(value)); }
};

}  // namespace convt3d::cuda::implicit_gemm
