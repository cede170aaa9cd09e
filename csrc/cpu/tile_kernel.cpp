// SPDX-License-Identifier: BSD-3-Clause
// One copy of the body per instruction set, chosen when called: the wheel runs on any x86-64.
#include "cpu/tile_kernel.h"

#include "cpu/tile_kernel_body.h"

namespace convt3d::cpu {
namespace {

enum class InstructionSet { baseline, avx2, avx512 };

#define CONVT3D_TILES(isa, type, name, bytes, wide)                            \
  isa void name(const TileJob& job, int64_t begin, int64_t end, void* slice) { \
    run_range<type, bytes, wide>(job, begin, end, slice);                      \
  }
#define CONVT3D_ALL_TILES(isa, suffix, bytes, wide)                                 \
  CONVT3D_TILES(isa, double, double_##suffix, bytes, wide)                          \
  CONVT3D_TILES(isa, float, float_##suffix, bytes, wide)                            \
  CONVT3D_TILES(isa, Half, half_##suffix, bytes, wide)                              \
  CONVT3D_TILES(isa, BFloat16, bfloat16_##suffix, bytes, wide)                      \
  constexpr RunTiles suffix[] = {&double_##suffix, &float_##suffix, &half_##suffix, \
                                 &bfloat16_##suffix};

#if defined(__x86_64__)
CONVT3D_ALL_TILES(, baseline, 16, false)
CONVT3D_ALL_TILES(__attribute__((target("avx2,fma,bmi2"))), avx2, 32, false)
CONVT3D_ALL_TILES(__attribute__((target("avx2,fma,bmi2,avx512f,avx512bw,avx512dq,avx512vl,"
                                        "prefer-vector-width=512"))),
                  avx512, 64, true)

InstructionSet detect() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::avx512;
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                 __builtin_cpu_supports("bmi2")
             ? InstructionSet::avx2
             : InstructionSet::baseline;
}
#else
CONVT3D_ALL_TILES(, baseline, 16, true)

InstructionSet detect() { return InstructionSet::baseline; }
#endif

InstructionSet detected() {
  static const InstructionSet set = detect();
  return set;
}

}  // namespace

RunTiles run_tiles(Precision precision) {
  const int type = precision == Precision::fp64   ? 0
                   : precision == Precision::fp16 ? 2
                   : precision == Precision::bf16 ? 3
                                                  : 1;
#if defined(__x86_64__)
  if (detected() == InstructionSet::avx512) return avx512[type];
  if (detected() == InstructionSet::avx2) return avx2[type];
#endif
  return baseline[type];
}

const char* instruction_set() {
  switch (detected()) {
    case InstructionSet::avx512:
      return "avx512";
    case InstructionSet::avx2:
      return "avx2";
    case InstructionSet::baseline:
      return "baseline";
  }
  return "?";
}

}  // namespace convt3d::cpu
