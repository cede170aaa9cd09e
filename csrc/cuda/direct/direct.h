// SPDX-License-Identifier: BSD-3-Clause
// direct: SIMT kernels for every parameter set, dtype, layout and stride; the net under everything.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::direct {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// Throws std::runtime_error when CUDA refuses the launch. `stream` is a cudaStream_t; the caller
// holds the device guard. Never called with an empty result or an empty reduction... see binding.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::direct
