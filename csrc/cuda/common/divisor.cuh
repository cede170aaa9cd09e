// SPDX-License-Identifier: BSD-3-Clause
// Division by numbers that only a launch knows.
#pragma once
#include <cstdint>

namespace convt3d::cuda {

// Division of a number below 2**31 by one that all threads know: a product and a shift.
// Granlund and Montgomery, "Division by invariant integers using multiplication", 1994.
struct Divisor {
  unsigned value, multiplier;
  int shift;
};

inline Divisor make_divisor(int64_t value) {
  Divisor divisor{};
  divisor.value = static_cast<unsigned>(value);
  while ((int64_t{1} << divisor.shift) < value) ++divisor.shift;
  const uint64_t excess = (uint64_t{1} << divisor.shift) - static_cast<uint64_t>(value);
  divisor.multiplier = static_cast<unsigned>((excess << 32) / static_cast<uint64_t>(value) + 1);
  return divisor;
}

// *value becomes the quotient; returns the rest.
__device__ __forceinline__ int divide(int* value, const Divisor& by) {
  const unsigned dividend = static_cast<unsigned>(*value);
  const unsigned quotient = (__umulhi(dividend, by.multiplier) + dividend) >> by.shift;
  *value = static_cast<int>(quotient);
  return static_cast<int>(dividend - quotient * by.value);
}

}  // namespace convt3d::cuda
