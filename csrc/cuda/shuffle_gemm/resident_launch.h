// SPDX-License-Identifier: BSD-3-Clause
// The launch of forward with resident weights.
#pragma once
#include "cuda/common/call.h"
#include "cuda/shuffle_gemm/resident_config.h"

namespace convt3d::cuda::shuffle_gemm {

struct ResidentParams;

// False, and nothing is launched, where the tensors are not aligned. `workspace`:
// packed_row_bytes().
bool launch_resident(const Description& original, const Device& device, const Operands& operands,
                     void* workspace, cudaStream_t stream);

// Defined in resident_launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run_resident(const ResidentParams& params, const ResidentConfig& config, cudaStream_t stream);

}  // namespace convt3d::cuda::shuffle_gemm
