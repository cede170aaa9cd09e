// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/weight_kernel.h"

#include "cpu/instruction_set.h"
#include "cpu/weight_kernel_body.h"

namespace convt3d::cpu {
namespace {

#define CONVT3D_WEIGHT(isa, type, name, bytes, wide, pairs)                                    \
  isa void name##_input(const WeightJob& job, int64_t begin, int64_t end) {                    \
    pack_rows<type, pairs>(job, false, begin, end);                                            \
  }                                                                                            \
  isa void name##_output(const WeightJob& job, int64_t begin, int64_t end) {                   \
    pack_rows<type, pairs>(job, true, begin, end);                                             \
  }                                                                                            \
  isa void name##_multiply(const WeightJob& job, int64_t begin, int64_t end, void* own_sums) { \
    run_items<type, bytes, wide, pairs>(job, begin, end, own_sums);                            \
  }                                                                                            \
  constexpr WeightKernels name{&name##_input, &name##_output, &name##_multiply};
#define CONVT3D_ALL_WEIGHTS(isa, suffix, bytes, wide)                                 \
  CONVT3D_WEIGHT(isa, double, double_##suffix, bytes, wide, false)                    \
  CONVT3D_WEIGHT(isa, float, float_##suffix, bytes, wide, false)                      \
  CONVT3D_WEIGHT(isa, Half, half_##suffix, bytes, wide, false)                        \
  CONVT3D_WEIGHT(isa, BFloat16, bfloat16_##suffix, bytes, wide, false)                \
  constexpr WeightKernels suffix[] = {double_##suffix, float_##suffix, half_##suffix, \
                                      bfloat16_##suffix};

#if defined(__x86_64__)
CONVT3D_ALL_WEIGHTS(, baseline, 16, false)
CONVT3D_ALL_WEIGHTS(CONVT3D_AVX2, avx2, 32, false)
CONVT3D_ALL_WEIGHTS(CONVT3D_AVX512, avx512, 64, true)
CONVT3D_WEIGHT(CONVT3D_AVX512, BFloat16, bfloat16_pairs, 64, true, true)
#else
CONVT3D_ALL_WEIGHTS(, baseline, 16, true)
#endif

}  // namespace

WeightKernels weight_kernels(Precision precision, bool pairs) {
  const int type = precision == Precision::fp64   ? 0
                   : precision == Precision::fp16 ? 2
                   : precision == Precision::bf16 ? 3
                                                  : 1;
#if defined(__x86_64__)
  if (pairs) return bfloat16_pairs;
  if (instruction_set() == InstructionSet::avx512) return avx512[type];
  if (instruction_set() == InstructionSet::avx2) return avx2[type];
#else
  (void)pairs;
#endif
  return baseline[type];
}

}  // namespace convt3d::cpu
