// SPDX-License-Identifier: BSD-3-Clause
// The launch of grad_input of pointwise layers with a stride.
#pragma once
#include "cuda/common/call.h"

namespace convt3d::cuda::shuffle_gemm {

void launch_skips(const Description& description, const Device& device, const Operands& operands,
                  cudaStream_t stream);

}  // namespace convt3d::cuda::shuffle_gemm
