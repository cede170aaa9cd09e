// SPDX-License-Identifier: BSD-3-Clause
// CUDA families. Everything runs on `stream` (a cudaStream_t); the caller holds the device guard.
#pragma once
#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cuda {

// `workspace` has the candidate's workspace_bytes. Throws std::runtime_error when CUDA refuses.
void launch(Family family, const Description& description, const Device& device,
            const Operands& operands, void* workspace, void* stream);

}  // namespace convt3d::cuda
