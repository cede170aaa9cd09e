// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/aten.h"

#include "cpu/selection.h"

namespace convt3d::cpu::aten {

Verdict supports(const Description&, const Device&) { return Verdict::accept(); }

int64_t workspace_bytes(const Description&, const Device&) { return 0; }

std::string config(const Description& description, const Device&) {
  return upcasts(description) ? "torch, computed in float32" : "torch";
}

bool upcasts(const Description& description) {
  // float16 without AVX512_FP16 is 2 to 50 times slower than float32 in torch, and accumulates in
  // float16; a CPU with it loses little here.
  if (description.precision == Precision::fp16) return true;
  // Where oneDNN has no bfloat16 deconvolution, float32 and two casts are 2 to 26 times faster.
  return description.precision == Precision::bf16 && description.direction == Direction::forward &&
         bfloat16_falls_back(description.problem);
}

}  // namespace convt3d::cpu::aten
