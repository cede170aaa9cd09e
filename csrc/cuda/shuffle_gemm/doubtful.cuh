// SPDX-License-Identifier: BSD-3-Clause
// Which sums of split products are computed again.
#pragma once

namespace convt3d::cuda::shuffle_gemm {

inline constexpr float kSmallestSum = 0x1p-90f;

// Whether a sum of split products may differ from one of whole ones: an infinity, NaN, or so small
// that the low parts of its operands may have been lost (TF32 ends at 2**-136).
__device__ __forceinline__ bool is_doubtful(float sum) {
  return !(fabsf(sum) <= 0x1.fffffep127f) || (sum != 0 && fabsf(sum) < kSmallestSum);
}

}  // namespace convt3d::cuda::shuffle_gemm
