// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/instruction_set.h"

namespace convt3d::cpu {
namespace {

InstructionSet detect() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2")) {
    return InstructionSet::avx2;
  }
#endif
  return InstructionSet::baseline;
}

}  // namespace

InstructionSet instruction_set() {
  static const InstructionSet set = detect();
  return set;
}

const char* to_string(InstructionSet set) {
  switch (set) {
    case InstructionSet::avx512:
      return "avx512";
    case InstructionSet::avx2:
      return "avx2";
    case InstructionSet::baseline:
      return "baseline";
  }
  return "?";
}

int64_t vector_bytes() {
  switch (instruction_set()) {
    case InstructionSet::avx512:
      return 64;
    case InstructionSet::avx2:
      return 32;
    case InstructionSet::baseline:
      break;
  }
  return 16;
}

bool has_bfloat16_dot() {
#if defined(__x86_64__)
  static const bool has =
      instruction_set() == InstructionSet::avx512 && __builtin_cpu_supports("avx512bf16");
  return has;
#else
  return false;
#endif
}

bool has_bfloat16_tiles() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("amx-bf16");
  return has;
#else
  return false;
#endif
}

}  // namespace convt3d::cpu
