// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cstdint>

namespace convt3d::cuda {

// 8 or 16 bytes of shared memory, at a multiple of their number.
template <int kWords>
__device__ __forceinline__ void load_words(uint32_t (&word)[kWords], uint32_t address) {
  static_assert(kWords == 2 || kWords == 4);
  if constexpr (kWords == 2) {
    asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
                 : "=r"(word[0]), "=r"(word[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(word[0]), "=r"(word[1]), "=r"(word[2]), "=r"(word[3])
                 : "r"(address)
                 : "memory");
  }
}

// 16 bytes, at a multiple of 16.
__device__ __forceinline__ float4 load_four_floats(uint32_t address) {
  float4 value;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "r"(address)
               : "memory");
  return value;
}

}  // namespace convt3d::cuda
