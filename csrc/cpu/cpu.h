// SPDX-License-Identifier: BSD-3-Clause
// CPU families. Each accepts only where it was measured faster than torch; `aten` takes the rest.
#pragma once
#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cpu {

// Runs a family other than aten. `workspace` has the candidate's workspace_bytes, 64-byte aligned.
void launch(Family family, const Description& description, const Operands& operands,
            void* workspace, const ParallelFor& parallel_for);

}  // namespace convt3d::cpu
