// SPDX-License-Identifier: BSD-3-Clause
// halo_gemm: forward and grad_input on the tensor cores of Hopper (sm_90a), input by TMA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_gemm {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// Two launches, or three: the weight into blocks (workspace), an input in NCDHW into rows of
// channels (workspace), and the product. channels_last_3d tensors that TMA cannot address (data or
// strides that are no multiples of 16 bytes) go to implicit_gemm.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::halo_gemm
