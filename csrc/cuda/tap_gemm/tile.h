// SPDX-License-Identifier: BSD-3-Clause
// The tiles that are built. Used by host and device.
#pragma once
#include "plan/description.h"

namespace convt3d::cuda::tap_gemm {

inline constexpr int kColumnsBuilt[] = {32, 48, 64, 128};

// Limit: registers. float32 sums a chunk beside the sums of all, and splits A.
constexpr int most_slabs(Precision precision, int columns) {
  return precision == Precision::fp32 && columns == 128 ? 1 : 2;
}

}  // namespace convt3d::cuda::tap_gemm
