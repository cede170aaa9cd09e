// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of residue_gemm: products of rows of positions (weight_rows.h).
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cpu::row_weight {

// Of both panels.
int64_t panel_bytes(const Description& description);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description);

// parallel_for calls its body at most num_threads times, each with its own slice of the workspace.
void launch(const Description& description, const Operands& operands, void* workspace,
            const ParallelFor& parallel_for);

}  // namespace convt3d::cpu::row_weight
