// SPDX-License-Identifier: BSD-3-Clause
// What the CPU can do. A kernel body is compiled once per instruction set, everything in it
// always_inline into a function that carries the target attribute, and chosen when called: the
// wheel runs on any x86-64.
#pragma once
#include "plan/description.h"

#define CONVT3D_INLINE [[gnu::always_inline]] static inline

#if defined(__x86_64__)
#define CONVT3D_AVX2 __attribute__((target("avx2,fma,bmi2")))
#define CONVT3D_AVX512                                           \
  __attribute__((                                                \
      target("avx2,fma,bmi2,avx512f,avx512bw,avx512dq,avx512vl," \
             "prefer-vector-width=512")))
#endif

namespace convt3d::cpu {

enum class InstructionSet { baseline, avx2, avx512 };

InstructionSet instruction_set();
const char* to_string(InstructionSet set);  // "baseline", "avx2" or "avx512"
int64_t vector_bytes();
// Dot products of bfloat16 pairs: vdpbf16ps.
bool has_bfloat16_dot();
// Matrix products of bfloat16 tiles: AMX.
bool has_bfloat16_tiles();

}  // namespace convt3d::cpu
