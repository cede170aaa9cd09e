// SPDX-License-Identifier: BSD-3-Clause
// weight_gemm: grad_weight on tensor cores (mma.sync): a tile of input positions against the taps
// that read one halo of grad_output, split over positions and added in a fixed order.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::weight_gemm {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// Throws std::runtime_error when CUDA refuses the launch. `stream` is a cudaStream_t; the caller
// holds the device guard.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::weight_gemm
