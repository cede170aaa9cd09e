// SPDX-License-Identifier: BSD-3-Clause
// Tensor maps for TMA. The driver's encoder is found through the runtime: libcuda is not linked.
#pragma once
#include <cuda.h>

#include <array>
#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::sm90 {

// Innermost axis first; its stride is 1. `box` is what one load brings: 32, 64 or 128 bytes of the
// innermost axis (any multiple of 16 where not swizzled), every `step`th element of the others.
struct TensorBox {
  const void* data;
  Precision precision;  // tf32: values are rounded to nearest even on their way
  std::array<int64_t, 5> extent, stride;
  std::array<int, 5> box;
  std::array<int, 5> step{1, 1, 1, 1, 1};  // at most 8
  bool swizzled = true;                    // else a box is dense in shared memory
};

// Rows of 128 bytes (64, 32) in shared memory, swizzled as wide as they are. Throws
// std::runtime_error where the driver refuses: data or strides that are no multiples of 16 bytes,
// boxes that span more than 256.
CUtensorMap encode(const TensorBox& tensor);

}  // namespace convt3d::cuda::sm90
