// SPDX-License-Identifier: BSD-3-Clause
// The entry point of lines_in.cuh.
#pragma once
#include "cuda/halo_gemm/call.h"

namespace convt3d::cuda::halo_gemm {

// Defined in lines_in_launch.cuh, in instances/lines_in_tf32.cu.
void run_lines_in(const Call& call);

}  // namespace convt3d::cuda::halo_gemm
