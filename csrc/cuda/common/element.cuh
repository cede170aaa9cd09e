// SPDX-License-Identifier: BSD-3-Clause
// Element types of the precisions, and the type that sums are kept in: float for 16- and 32-bit,
// double for double.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "plan/description.h"

namespace convt3d::cuda {

template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::type;

template <Precision kPrecision>
struct PrecisionTraits {
  using type = float;
};
template <>
struct PrecisionTraits<Precision::fp64> {
  using type = double;
};
template <>
struct PrecisionTraits<Precision::fp16> {
  using type = __half;
};
template <>
struct PrecisionTraits<Precision::bf16> {
  using type = __nv_bfloat16;
};
template <Precision kPrecision>
using ElementOf = typename PrecisionTraits<kPrecision>::type;

// Named conversions: torch's build flags switch the implicit ones off.
__device__ __forceinline__ double widen(double value) { return value; }
__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

// The element where `there`, else 0. As bits, so that 16-bit loads are predicated like all others.
template <typename T>
__device__ __forceinline__ Accumulator<T> load_or_zero(const T* element, bool there) {
  if constexpr (sizeof(T) == 2) {
    const unsigned short bits = there ? *reinterpret_cast<const unsigned short*>(element) : 0;
    if constexpr (std::is_same_v<T, __half>) {
      return widen(__ushort_as_half(bits));
    } else {
      return widen(__ushort_as_bfloat16(bits));
    }
  } else {
    return there ? *element : T(0);
  }
}

// The one rounding of 16-bit results: to nearest even.
template <typename T>
__device__ __forceinline__ T narrow(Accumulator<T> value) {
  if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(value);
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(value);
  } else {
    return value;
  }
}

// Two 16-bit results as a word, the first in its lower half.
template <typename T>
__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}

}  // namespace convt3d::cuda
