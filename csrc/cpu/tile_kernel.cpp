// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/tile_kernel.h"

#include "cpu/instruction_set.h"
#include "cpu/tile_kernel_body.h"

namespace convt3d::cpu {
namespace {

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
CONVT3D_ALL_TILES(CONVT3D_AVX2, avx2, 32, false)
CONVT3D_ALL_TILES(CONVT3D_AVX512, avx512, 64, true)
#else
CONVT3D_ALL_TILES(, baseline, 16, true)
#endif

}  // namespace

RunTiles run_tiles(Precision precision) {
  const int type = precision == Precision::fp64   ? 0
                   : precision == Precision::fp16 ? 2
                   : precision == Precision::bf16 ? 3
                                                  : 1;
#if defined(__x86_64__)
  if (instruction_set() == InstructionSet::avx512) return avx512[type];
  if (instruction_set() == InstructionSet::avx2) return avx2[type];
#endif
  return baseline[type];
}

}  // namespace convt3d::cpu
