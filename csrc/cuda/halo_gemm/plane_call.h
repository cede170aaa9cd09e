// SPDX-License-Identifier: BSD-3-Clause
// One call of plane_kernel.cuh, and the entry point of each precision's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/halo_gemm/plane_march.h"

namespace convt3d::cuda::halo_gemm {

using PlaneCall = cuda::Call<PlaneConfig>;

// Defined in plane_launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run_planes(const PlaneCall& call);

}  // namespace convt3d::cuda::halo_gemm
