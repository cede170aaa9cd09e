// SPDX-License-Identifier: BSD-3-Clause
// few_channels: all directions, with few channels on either side of a group. Memory bound:
// depthwise, grouped, tiny out_channels, tiny in_channels.
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda::few_channels {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// Throws std::runtime_error when CUDA refuses the launch. `stream` is a cudaStream_t; the caller
// holds the device guard.
void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream);

}  // namespace convt3d::cuda::few_channels
