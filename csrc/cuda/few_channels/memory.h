// SPDX-License-Identifier: BSD-3-Clause
// How a tensor lies in memory, as the launches of both kinds ask.
#pragma once
#include <algorithm>
#include <cstdint>

#include "cuda/few_channels/vector.cuh"
#include "geometry/ceil_div.h"
#include "plan/operands.h"

namespace convt3d::cuda::few_channels {

// Whether `count` channels lie side by side and aligned at every position of a tensor.
inline bool aligned_channels(const TensorView& view, int64_t element, int64_t count) {
  bool whole = view.stride[1] == 1;
  for (int dim : {0, 2, 3, 4}) whole = whole && view.stride[dim] % count == 0;
  const int64_t bytes = std::min<int64_t>(kMaxAccess, count * element);
  return whole && reinterpret_cast<uintptr_t>(view.data) % bytes == 0;
}

}  // namespace convt3d::cuda::few_channels
