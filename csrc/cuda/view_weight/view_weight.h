// SPDX-License-Identifier: BSD-3-Clause
// view_weight: grad_weight of float32 tensors (TF32, or full float32 as three TF32 products) on the
// tensor cores of Hopper (sm_90a), grad_output as rows of channels, in views of every s-th
// position.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::view_weight {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);
// Estimate of all launches, in clocks of an SM, for families that may be faster. Of a description
// that supports() accepts.
double clocks(const Description& description, const Device& device);

// Three launches (input is packed; products; sums of the pieces), and one where grad_output becomes
// rows of channels first (workspace). Tensors of channels_last_3d that TMA cannot address (data or
// strides that are no multiples of 16 bytes) go to weight_gemm.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::view_weight
