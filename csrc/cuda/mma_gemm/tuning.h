// SPDX-License-Identifier: BSD-3-Clause
// Numbers of mma_gemm, each with where it comes from; implicit_gemm/tuning.h has those of its code.
#pragma once

#include "cuda/common/shared_limit.h"
#include "cuda/common/tf32_rate.h"
#include "plan/description.h"

namespace convt3d::cuda::mma_gemm {

// Rows of a tile: 32 of each of 8 warps.
inline constexpr int kTileRows = 256;

// Limit: the 168 registers of a thread, where 12 warps share 64 K. fp32 has its operands twice, and
// on 12.0 one register too few is left.
constexpr int max_columns(Precision precision, int arch) {
  return precision == Precision::fp32 || arch >= 120 ? 48 : 64;
}

// Where three TF32 products take longer than one of float32; no such kernel is built there.
constexpr bool is_refused(Precision precision, int arch) {
  return precision == Precision::fp32 && is_slow_in_tf32(arch);
}

// float32: additions to one sum, each of a step. Their roundings walk: 375 one after another are
// 3.4e-7 off, cuDNN 1.7e-7 (33 -> 16, k3x5x5, H200). There are as many parts as
// additions in one where 27 taps of 1200 channels meet.
inline constexpr int kMaxAdditions = 64;

// For the choice between boxes: clocks that a column of 64 rows and 32 bytes of channels takes, at
// 60 % of wgmma on 9.0 and the vendor's peak rates elsewhere.
constexpr double column_clocks(int arch) { return is_slow_in_tf32(arch) ? 4 : 0.9; }

}  // namespace convt3d::cuda::mma_gemm
