// SPDX-License-Identifier: BSD-3-Clause
// One call of turn_kernel.cuh, and the entry point of each precision's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/halo_gemm/turn_march.h"

namespace convt3d::cuda::halo_gemm {

using TurnCall = cuda::Call<TurnConfig>;

// Defined in turn_launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run_turn(const TurnCall& call);

}  // namespace convt3d::cuda::halo_gemm
