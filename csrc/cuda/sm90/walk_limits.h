// SPDX-License-Identifier: BSD-3-Clause
// What a walk of TMA (walk_map.h) can reach, in plain C++.
#pragma once
#include <cstdint>

namespace convt3d::cuda::sm90 {

// Limits of TMA: a walk's first position, where it ends beyond the tensor, and what a tap adds.
inline constexpr int64_t kLeastCorner = -16, kMostCorner = 15, kMostOffset = 31, kMostStep = 8;

// Where the walk ends, from the tensor's last position on.
constexpr int64_t upper_corner(int64_t first, int64_t count, int64_t step, int64_t extent) {
  return first + (count - 1) * step + 1 - extent;
}

}  // namespace convt3d::cuda::sm90
