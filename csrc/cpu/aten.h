// SPDX-License-Identifier: BSD-3-Clause
// aten: torch's own convolution, through the dispatcher (binding/aten_call.h makes the call).
#pragma once
#include <cstdint>
#include <string>

#include "plan/family.h"

namespace convt3d::cpu::aten {

Verdict supports(const Description& description, const Device& device);
int64_t workspace_bytes(const Description& description, const Device& device);
std::string config(const Description& description, const Device& device);

// Whether the tensors are cast to float32 for the call and the result is cast back.
bool upcasts(const Description& description);
// Whether oneDNN's result is.
bool wrong_in_bfloat16(const Description& description);
// Whether the bias is added after the call, before a cast back.
bool adds_bias(const Description& description);

}  // namespace convt3d::cpu::aten
