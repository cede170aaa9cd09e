// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cstdint>

namespace convt3d {

// a / b upwards, of a >= 0 and b > 0.
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The least multiple of `step` that is not below `value`.
constexpr int64_t round_up(int64_t value, int64_t step) { return ceil_div(value, step) * step; }

}  // namespace convt3d
