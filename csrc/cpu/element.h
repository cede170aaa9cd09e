// SPDX-License-Identifier: BSD-3-Clause
// Storage types and the type they are computed in. Half and bfloat16 are integers here, converted
// with integer arithmetic that every compiler vectorises on every instruction set.
#pragma once
#include <bit>
#include <cstdint>

namespace convt3d::cpu {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <class T>
struct ComputeType {
  using type = float;
};
template <>
struct ComputeType<double> {
  using type = double;
};
template <class T>
using Compute = typename ComputeType<T>::type;

[[gnu::always_inline]] inline double load_element(double x) { return x; }
[[gnu::always_inline]] inline float load_element(float x) { return x; }
[[gnu::always_inline]] inline float load_element(BFloat16 x) {
  return std::bit_cast<float>(uint32_t{x.bits} << 16);
}
[[gnu::always_inline]] inline float load_element(Half x) {
  const uint32_t magnitude = uint32_t(x.bits & 0x7fffu) << 13;
  // 2^112 moves the exponent bias from 15 to 127 and normalises subnormals exactly.
  const uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t finite_or_not = magnitude >= 0x0f800000u ? scaled | 0x7f800000u : scaled;
  return std::bit_cast<float>(finite_or_not | (uint32_t(x.bits & 0x8000u) << 16));
}

[[gnu::always_inline]] inline void store_element(double x, double* to) { *to = x; }
[[gnu::always_inline]] inline void store_element(float x, float* to) { *to = x; }
// Both round to nearest even and keep NaN a NaN.
[[gnu::always_inline]] inline void store_element(float x, BFloat16* to) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  to->bits = uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}
[[gnu::always_inline]] inline void store_element(float x, Half* to) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Normal halves: rebias the exponent and round away 13 bits; the carry runs into infinity.
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Subnormal halves: adding 0.5 lets the float adder do the rounding at 2^-24.
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x47800000u ? 0x7c00u : half;
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  to->bits = uint16_t(half | ((bits >> 16) & 0x8000u));
}

}  // namespace convt3d::cpu
