// SPDX-License-Identifier: BSD-3-Clause
// Several channels in one access.
#pragma once
#include <cstdint>
#include <type_traits>

#include "cuda/common/element.cuh"

namespace convt3d::cuda::few_channels {

constexpr int kMaxAccess = 16;  // bytes: the widest load and store

template <typename T, int kCount>
struct alignas(kCount * sizeof(T) < kMaxAccess ? kCount * sizeof(T) : kMaxAccess) Vector {
  T value[kCount];
};

// Addresses that the compiler may not take apart: it would add the base, a kernel parameter, anew
// before every load, and wait for it.
__device__ __forceinline__ void keep_in_registers(const char*& address) {
  asm volatile("" : "+l"(address));
  __builtin_assume(__isGlobal(address));
}

// `kCount` elements as they lie in memory.
template <typename T, int kCount>
struct Elements {
  Vector<unsigned, (kCount * sizeof(T) + 3) / 4> bits;

  __device__ __forceinline__ float as_float(int i) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(bits.value[i]);
    } else {
      const unsigned short half = static_cast<unsigned short>(bits.value[i / 2] >> (i % 2 * 16));
      if constexpr (std::is_same_v<T, __half>) {
        return widen(__ushort_as_half(half));
      } else {
        return widen(__ushort_as_bfloat16(half));
      }
    }
  }
};

// `kCount` channels, zeros where not `there`. `whole`: they lie side by side and aligned; else each
// is loaded for itself, as far as `channels` goes.
template <int kCount, typename T>
__device__ __forceinline__ Elements<T, kCount> load_elements(const char* source, bool there,
                                                             int64_t channel_bytes, int channels,
                                                             bool whole) {
  Elements<T, kCount> result{};
  if (kCount > 1 && whole) {
    if (there) result.bits = *reinterpret_cast<const decltype(result.bits)*>(source);
    return result;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const char* own = source + i * channel_bytes;
    const bool hit = there && (kCount == 1 || i < channels);
    if constexpr (sizeof(T) == 4) {
      if (hit) result.bits.value[i] = *reinterpret_cast<const unsigned*>(own);
    } else {
      const unsigned half = hit ? *reinterpret_cast<const unsigned short*>(own) : 0u;
      result.bits.value[i / 2] |= half << (i % 2 * 16);
    }
  }
  return result;
}

template <int kCount>
__device__ __forceinline__ void load_weights(const float* source, float (&w)[kCount]) {
  const auto row = *reinterpret_cast<const Vector<float, kCount>*>(source);
#pragma unroll
  for (int v = 0; v < kCount; ++v) w[v] = row.value[v];
}

}  // namespace convt3d::cuda::few_channels
