// SPDX-License-Identifier: BSD-3-Clause
// The launches of pick_kernel.cuh.
#pragma once
#include "cuda/common/call.h"
#include "cuda/line_weight/pick_config.h"

namespace convt3d::cuda::line_weight {

// False where input does not begin on 16 bytes, or grad_output not on a word.
bool launch_picks(const Description& description, const PickConfig& config,
                  const Operands& operands, void* workspace, cudaStream_t stream);

}  // namespace convt3d::cuda::line_weight
