// SPDX-License-Identifier: BSD-3-Clause
// Conversions of numbers that are known to fit.
#pragma once
#include <cstdint>

namespace convt3d {

constexpr int as_int(int64_t value) { return static_cast<int>(value); }
constexpr double as_double(int64_t value) { return static_cast<double>(value); }

}  // namespace convt3d
