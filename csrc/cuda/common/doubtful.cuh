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

// Whether is_doubtful() may hold for any of many sums, in two instructions each; zeros count.
template <bool kSplit = true>
struct AnyDoubtful {
  float poison = 0, least = 1;

  __device__ __forceinline__ void see(float sum) {
    poison = fmaf(sum, 0.0f, poison);  // NaN of infinities and NaN
    if (kSplit) least = fminf(least, fabsf(sum));
  }
  __device__ __forceinline__ bool found() const { return poison != 0 || least < kSmallestSum; }
};

}  // namespace convt3d::cuda
