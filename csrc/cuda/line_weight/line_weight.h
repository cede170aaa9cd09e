// SPDX-License-Identifier: BSD-3-Clause
// line_weight: grad_weight of NCDHW tensors in 16 bits (k3 s2 and stride 1: TF32, too) on wgmma,
// without turning them into rows of channels first: lines of grad_output go through registers,
// lines of input are read from shared memory as they come.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::line_weight {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// Throws std::runtime_error when CUDA refuses the launch. `stream` is a cudaStream_t; the caller
// holds the device guard.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::line_weight
