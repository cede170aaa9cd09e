// SPDX-License-Identifier: BSD-3-Clause
// subpixel_gemm: long strides and few channels per group, on tensor cores of 8.0 and later.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::subpixel_gemm {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// One launch.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::subpixel_gemm
