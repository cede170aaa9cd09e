// SPDX-License-Identifier: BSD-3-Clause
// One call of gather_kernel.cuh, and the entry point of each precision's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/halo_gemm/gather_march.h"

namespace convt3d::cuda::halo_gemm {

using GatherCall = cuda::Call<GatherConfig>;

// Defined in gather_launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run_gather(const GatherCall& call);

}  // namespace convt3d::cuda::halo_gemm
