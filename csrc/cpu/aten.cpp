// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/aten.h"

namespace convt3d::cpu::aten {

Verdict supports(const Description&, const Device&) { return Verdict::accept(); }

int64_t workspace_bytes(const Description&, const Device&) { return 0; }

std::string config(const Description& description, const Device&) {
  return upcasts(description) ? "torch, computed in float32" : "torch";
}

bool upcasts(const Description& description) {
  // float16 without AVX512_FP16 is 2 to 50 times slower than float32 in torch, and accumulates in
  // float16; a CPU with it loses little here.
  return description.precision == Precision::fp16;
}

}  // namespace convt3d::cpu::aten
