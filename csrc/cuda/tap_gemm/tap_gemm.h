// SPDX-License-Identifier: BSD-3-Clause
// tap_gemm: grad_weight of float32 tensors on Hopper's wgmma: rows are pairs of an out_channel and
// a tap, gathered through registers from one halo of grad_output; columns are in_channels.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::tap_gemm {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// Throws std::runtime_error when CUDA refuses the launch. `stream` is a cudaStream_t; the caller
// holds the device guard.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::tap_gemm
