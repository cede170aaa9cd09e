// SPDX-License-Identifier: BSD-3-Clause
// Which calls residue_gemm takes and which stay with torch, as measured (docs/kernels/cpu.md).
#pragma once
#include "plan/family.h"

namespace convt3d::cpu {

Verdict select_residue_gemm(const Description& description, const Device& device);
// Whether torch leaves its fast kernels for the sake of the bias: 1.2 to 110 times slower.
bool bias_slows_torch(const Description& description);

}  // namespace convt3d::cpu
