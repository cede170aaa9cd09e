// SPDX-License-Identifier: BSD-3-Clause
// A weight of 16-bit elements, [in_channel][tap][out_channel], into any strides.
#pragma once
#include <cuda_runtime_api.h>

#include "geometry/problem.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_weight {

struct Turn {
  const void* source;  // rows of `row` out_channels, a multiple of 8
  int row;
  const Problem& problem;
  const TensorView& weight;
};

// A launch that overlaps with the one before it, which writes the source.
void turn_weight(const Turn& turn, cudaStream_t stream);

}  // namespace convt3d::cuda::halo_weight
