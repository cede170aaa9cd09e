// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cstdint>

#include "cuda/common/mma_sync.cuh"

namespace convt3d::cuda {

// x = high + low, for three TF32 products. `low` is left to the tensor cores, which ignore what
// TF32 does not hold: one bit, where rounding would be off by as much. Not for infinities, NaN,
// what rounds to infinity, and what is so small that low is below 2**-136.
template <int n>
__device__ __forceinline__ void split_operand(const uint32_t (&x)[n], uint32_t (&high)[n],
                                              uint32_t (&low)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    high[i] = round_to_tf32(x[i]);
    low[i] = __float_as_uint(__uint_as_float(x[i]) - __uint_as_float(high[i]));
  }
}

}  // namespace convt3d::cuda
