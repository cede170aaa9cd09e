// SPDX-License-Identifier: BSD-3-Clause
// The strides of a dense tensor in the order of its layout; what aten says of an axis of extent 1
// means nothing.
#pragma once
#include <array>
#include <cstdint>

#include "geometry/problem.h"

namespace convt3d::cuda::shuffle_gemm {

// n, c, d, h, w.
inline std::array<int64_t, 5> dense_strides(int64_t channels, const Extent3& extent,
                                            bool channels_last) {
  const auto [d, h, w] = extent;
  if (channels_last) return {d * h * w * channels, 1, h * w * channels, w * channels, channels};
  return {channels * d * h * w, d * h * w, h * w, w, 1};
}

}  // namespace convt3d::cuda::shuffle_gemm
