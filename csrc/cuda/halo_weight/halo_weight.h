// SPDX-License-Identifier: BSD-3-Clause
// halo_weight: grad_weight in 16 bits on the tensor cores of Hopper (sm_90a), both operands by TMA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_weight {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);
// Estimate of all launches, in clocks of an SM, for families that may be faster. Of a description
// that supports() accepts.
double clocks(const Description& description, const Device& device);

// Two launches, and one for each tensor that becomes rows of channels first (workspace).
// channels_last_3d tensors that TMA cannot address (data or strides that are no multiples of 16
// bytes) go to weight_gemm.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::halo_weight
