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
// Whether grad_output becomes rows of channels first (sm90/row_pack.h): 16-bit gathers along
// positions cost more than the turn where every element of it is read.
bool packs_rows(const Description& description);
// What its configuration is estimated to take, in clocks of the device.
double estimated_clocks(const Description& description, const Device& device);

// The weight into blocks and, where that is so, grad_output into rows (both in the workspace); the
// product.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::implicit_gemm
