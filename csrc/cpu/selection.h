// SPDX-License-Identifier: BSD-3-Clause
// Which calls residue_gemm takes and which stay with torch, as measured (docs/kernels/cpu.md).
#pragma once
#include "plan/family.h"

namespace convt3d::cpu {

Verdict select_residue_gemm(const Description& description, const Device& device);
// Whether torch has no bfloat16 path for this shape that is faster than its float32 one.
bool bfloat16_falls_back(const Problem& problem);

}  // namespace convt3d::cpu
