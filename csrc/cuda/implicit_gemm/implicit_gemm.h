// SPDX-License-Identifier: BSD-3-Clause
// implicit_gemm: forward and grad_input on the tensor cores of Hopper (sm_90a).
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::implicit_gemm {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);
// What its configuration is estimated to take, in clocks of the device.
double estimated_clocks(const Description& description, const Device& device);

// Two launches: the weight into blocks (workspace), and the product.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::implicit_gemm
