// SPDX-License-Identifier: BSD-3-Clause
// The launch of grad_input, and of forward, by whole patches.
#pragma once
#include "cuda/common/call.h"
#include "cuda/shuffle_gemm/patch_config.h"

namespace convt3d::cuda::shuffle_gemm {

struct PatchParams;

// False, and nothing is launched, where the tensors are not aligned. `workspace`:
// packed_weight_bytes().
bool launch_patches(const Description& original, const Device& device, const Operands& operands,
                    void* workspace, cudaStream_t stream);

// Defined in patch_launch.cuh, instantiated in instances/.
template <Precision kPrecision, bool kForward>
void run_patches(const PatchParams& params, const PatchConfig& config, bool lines,
                 cudaStream_t stream);

}  // namespace convt3d::cuda::shuffle_gemm
