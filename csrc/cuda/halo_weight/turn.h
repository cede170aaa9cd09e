// SPDX-License-Identifier: BSD-3-Clause
// A weight of rows of out_channels (turned.h) into any strides.
#pragma once
#include <cuda_runtime_api.h>

#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_weight {

// A launch that overlaps with the one before it, which writes the rows.
void turn_weight(const Description& description, const void* rows, const TensorView& weight,
                 cudaStream_t stream);

}  // namespace convt3d::cuda::halo_weight
