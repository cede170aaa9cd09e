// SPDX-License-Identifier: BSD-3-Clause
// padded_channels: rows of channels that are no multiple of 16 bytes, copied to ones that are, and
// another family between the copies.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::padded_channels {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// The copies of operands, the other family's launches, and the copy of the result.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::padded_channels
