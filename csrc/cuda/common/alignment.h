// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cstdint>

#include "geometry/problem.h"
#include "plan/operands.h"

namespace convt3d::cuda {

// On 16 bytes.
inline bool is_aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

// Whether a position's channels are contiguous, and every position that there is starts on 16
// bytes.
inline bool rows_aligned(const TensorView& view, int64_t batch, const Extent3& extent,
                         int64_t element_bytes) {
  if (view.stride[1] != 1 || !is_aligned(view.data)) return false;
  const int64_t extents[5] = {batch, 1, extent[0], extent[1], extent[2]};
  for (int dim : {0, 2, 3, 4}) {
    if (extents[dim] > 1 && view.stride[dim] * element_bytes % 16 != 0) return false;
  }
  return true;
}

}  // namespace convt3d::cuda
