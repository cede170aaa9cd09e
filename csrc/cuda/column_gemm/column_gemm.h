// SPDX-License-Identifier: BSD-3-Clause
// column_gemm: few out_channels on the tensor cores of compute capability 8.0 and later; the taps
// on w are columns of the product.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::column_gemm {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// One launch.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::column_gemm
