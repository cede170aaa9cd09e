// SPDX-License-Identifier: BSD-3-Clause
// One call of paired_kernel.cuh, and the entry point of each precision's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/halo_gemm/paired.h"

namespace convt3d::cuda::halo_gemm {

using PairedCall = cuda::Call<PairedConfig>;

// Defined in paired_launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run_paired(const PairedCall& call);

}  // namespace convt3d::cuda::halo_gemm
