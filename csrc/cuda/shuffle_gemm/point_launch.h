// SPDX-License-Identifier: BSD-3-Clause
// The launch of pointwise layers of few channels.
#pragma once
#include "cuda/common/call.h"

namespace convt3d::cuda::shuffle_gemm {

void launch_points(const Description& description, const Device& device, const Operands& operands,
                   cudaStream_t stream);

}  // namespace convt3d::cuda::shuffle_gemm
