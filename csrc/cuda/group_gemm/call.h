// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each precision's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/group_gemm/config.h"

namespace convt3d::cuda::group_gemm {

using Call = cuda::Call<Config>;

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run(const Call& call);

}  // namespace convt3d::cuda::group_gemm
