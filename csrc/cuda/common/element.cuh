// SPDX-License-Identifier: BSD-3-Clause
// Element types and the type that sums are kept in: float for 16- and 32-bit, double for double.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

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

template <typename T>
__device__ __forceinline__ Accumulator<T> widen(T value) {
  return static_cast<Accumulator<T>>(value);
}
// The one rounding of 16-bit results: to nearest even.
template <typename T>
__device__ __forceinline__ T narrow(Accumulator<T> value) {
  return static_cast<T>(value);
}

}  // namespace convt3d::cuda
