// SPDX-License-Identifier: BSD-3-Clause
// residue_gemm: GEMMs over a padded, flattened box (flat_convolution.h), one per output residue;
// grad_weight over rows of positions (row_weight.h).
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"
#include "plan/operands.h"

namespace convt3d::cpu::residue_gemm {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// parallel_for calls its body at most num_threads times, each with its own slice of the workspace.
void launch(const Description& description, const Operands& operands, void* workspace,
            const ParallelFor& parallel_for);

}  // namespace convt3d::cpu::residue_gemm
