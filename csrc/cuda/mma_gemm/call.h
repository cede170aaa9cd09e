// SPDX-License-Identifier: BSD-3-Clause
// The entry point of each precision's kernels.
#pragma once
#include "cuda/implicit_gemm/call.h"

namespace convt3d::cuda::mma_gemm {

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run(const implicit_gemm::Call& call);

}  // namespace convt3d::cuda::mma_gemm
