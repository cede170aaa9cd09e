// SPDX-License-Identifier: BSD-3-Clause
// Tensor maps that walk over positions (TMA's im2col mode): a load brings so many positions from a
// first one on, line by line and plane by plane, of a tap of a convolution.
#pragma once
#include <cuda.h>

#include <array>
#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::sm90 {

// Axes {channels, w, h, d, n}; the stride of channels is 1. The walk covers `count` positions of
// {w, h, d}, `step` apart, of which the first lies at `first` (a tap adds to it); what lies outside
// the tensor is zeros.
struct Walk {
  const void* data;
  Precision precision;  // tf32: values are rounded to nearest even on their way
  std::array<int64_t, 5> extent, stride;
  std::array<int64_t, 3> first, count, step;
  int channels, positions;  // of a load
};

// Rows of 128 bytes (64, 32) in shared memory, swizzled as wide as they are. Throws
// std::runtime_error where the driver refuses.
CUtensorMap encode(const Walk& walk);

}  // namespace convt3d::cuda::sm90
