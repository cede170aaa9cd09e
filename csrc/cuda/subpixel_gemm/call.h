// SPDX-License-Identifier: BSD-3-Clause
// The entry point of each precision's kernel.
#pragma once
#include "cuda/common/call.h"
#include "cuda/subpixel_gemm/config.h"

namespace convt3d::cuda::subpixel_gemm {

using Call = cuda::Call<Config>;

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run(const Call& call);

}  // namespace convt3d::cuda::subpixel_gemm
