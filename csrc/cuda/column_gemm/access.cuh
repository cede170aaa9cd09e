// SPDX-License-Identifier: BSD-3-Clause
// Single elements and short runs of them on their way between memory, shared memory and registers.
#pragma once
#include <cstdint>
#include <type_traits>

#include "cuda/common/shared_memory.cuh"

namespace convt3d::cuda::column_gemm {

__device__ __forceinline__ bool within(int coordinate, int extent) {
  return static_cast<unsigned>(coordinate) < static_cast<unsigned>(extent);
}

// By a number whose reciprocal is in 2**-32, upwards; 0 stands for one.
__device__ __forceinline__ int divide(int value, unsigned reciprocal) {
  return reciprocal == 0 ? value : static_cast<int>(__umulhi(value, reciprocal));
}

// One element, or zero.
template <typename T>
__device__ __forceinline__ void stage_element(uint32_t target, const T* source, bool there) {
  if constexpr (sizeof(T) == 4) {
    copy_async<4>(target, source, there ? 4 : 0);
  } else {
    unsigned short bits = 0;
    if (there) bits = *reinterpret_cast<const unsigned short*>(source);
    asm volatile("st.shared.b16 [%0], %1;" ::"r"(target), "h"(bits) : "memory");
  }
}

// The element's bits, or zeros; of what no launch in flight writes.
template <typename T>
__device__ __forceinline__ uint32_t bits_of(const T* element, bool there) {
  if constexpr (sizeof(T) == 4) {
    return there ? __ldg(reinterpret_cast<const uint32_t*>(element)) : 0;
  } else {
    return there ? __ldg(reinterpret_cast<const unsigned short*>(element)) : 0;
  }
}

// Elements side by side in memory, in stores of at most 16 bytes.
template <typename T, int n>
__device__ __forceinline__ void store_whole(T* target, const T (&value)[n]) {
  constexpr int kBytes = n * sizeof(T) < 16 ? n * sizeof(T) : 16, kPerStore = kBytes / sizeof(T);
  using Word = std::conditional_t<
      kBytes == 16, uint4,
      std::conditional_t<kBytes == 8, uint2,
                         std::conditional_t<kBytes == 4, uint32_t, unsigned short>>>;
#pragma unroll
  for (int i = 0; i < n; i += kPerStore) {
    union {
      Word word;
      T element[kPerStore];
    } bits;
#pragma unroll
    for (int j = 0; j < kPerStore; ++j) bits.element[j] = value[i + j];
    *reinterpret_cast<Word*>(target + i) = bits.word;
  }
}

}  // namespace convt3d::cuda::column_gemm
