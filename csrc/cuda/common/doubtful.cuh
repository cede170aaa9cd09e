// SPDX-License-Identifier: BSD-3-Clause
// Which sums of float32 products, each made of three TF32 ones, are computed again.
#pragma once

namespace convt3d::cuda {

// Below this the low parts of what was multiplied may have been lost: TF32 ends at 2**-136.
inline constexpr float kSmallestSum = 0x1p-90f;

// Whether a sum of split products may differ from one of whole ones: an infinity, NaN or small.
// kSplit: with false, of products that were never split, where only the former counts.
template <bool kSplit = true>
__device__ __forceinline__ bool is_doubtful(float sum) {
  return !(fabsf(sum) <= 0x1.fffffep127f) || (kSplit && sum != 0 && fabsf(sum) < kSmallestSum);
}

}  // namespace convt3d::cuda
