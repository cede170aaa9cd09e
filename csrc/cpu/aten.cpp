// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/aten.h"

#include "cpu/instruction_set.h"
#include "cpu/selection.h"

namespace convt3d::cpu::aten {

Verdict supports(const Description&, const Device&) { return Verdict::accept(); }

int64_t workspace_bytes(const Description&, const Device&) { return 0; }

std::string config(const Description& description, const Device& device) {
  if (device.kind == DeviceKind::cuda) return "torch, as this binary has no code for the GPU";
  std::string words = "torch";
  if (upcasts(description)) words += ", computed in float32";
  if (adds_bias(description)) words += ", bias added after it";
  return words;
}

bool adds_bias(const Description& description) { return bias_slows_torch(description); }

bool upcasts(const Description& description) {
  // float16 without AVX512_FP16 is 2 to 50 times slower than float32 in torch, and accumulates in
  // float16; a CPU with it loses little here.
  if (description.precision == Precision::fp16) return true;
  if (description.precision != Precision::bf16) return false;
  // oneDNN has bfloat16 from AVX-512 on. Torch's own loops, elsewhere, add up in bfloat16 (up to 8
  // times the error of one rounding).
  if (instruction_set() != InstructionSet::avx512) return true;
  // A bias that is added afterwards wants float32, so that the result is rounded once.
  if (description.direction == Direction::forward && adds_bias(description)) return true;
  return wrong_in_bfloat16(description);
}

bool wrong_in_bfloat16(const Description& description) {
  const Problem& p = description.problem;
  const auto any_axis = [](auto holds) { return holds(0) || holds(1) || holds(2); };
  const auto span = [&](int a) { return p.dilation[a] * (p.kernel[a] - 1) + 1; };
  // torch 2.11 (oneDNN 3.10) on a Xeon with AMX, problems without dilation. Of a few hundred, 54
  // grad_weight were wrong or wrote over the heap and 13 grad_input were wrong; of 1322 forwards
  // 26, all where output_padding is larger than padding. Without AMX one of 1249 grad_input was.
  const bool tiles = has_bfloat16_tiles();
  switch (description.direction) {
    case Direction::forward:
      return tiles && any_axis([&](int a) { return p.output_padding[a] > p.padding[a]; });
    case Direction::grad_input:
      return tiles || any_axis([&](int a) { return p.padding[a] > 0 && p.output()[a] < span(a); });
    case Direction::grad_weight:
      break;
  }
  // torch 2.13 (oneDNN 3.12) rounds twice where the kernel is dilated, and reads memory that is not
  // its own (garbage, infinities, crashes) where the padded kernel reaches past a short output.
  return tiles || any_axis([&](int a) {
           return p.dilation[a] > 1 || (p.padding[a] > 0 && p.output()[a] < 2 * span(a));
         });
}

}  // namespace convt3d::cpu::aten
