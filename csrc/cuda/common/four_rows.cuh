// SPDX-License-Identifier: BSD-3-Clause
// A warp's 16 rows x 8 columns of 16-bit results (mma_sync.cuh: a lane has pairs of columns of rows
// lane / 4 and 8 below it) by columns: movmatrix exchanges rows and columns, two lanes exchange
// halves. Then a lane has four rows of column lane / 4, and four lanes all 16: 32 bytes.
#pragma once
#include <cstdint>

namespace convt3d::cuda {

// The first of a lane's four rows.
__device__ __forceinline__ int first_of_four_rows(int lane) {
  const int quad = lane % 4;
  return quad % 2 != 0 ? 2 * quad + 6 : 2 * quad;
}

__device__ __forceinline__ uint32_t exchange_rows(uint32_t pair) {
  uint32_t result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

// All lanes of a warp.
__device__ __forceinline__ uint2 four_rows(int lane, uint32_t pair, uint32_t pair_below) {
  const bool odd = lane % 2 != 0;
  const uint32_t low = exchange_rows(pair), high = exchange_rows(pair_below);
  const uint32_t other = __shfl_xor_sync(~0u, odd ? low : high, 1);
  return odd ? make_uint2(other, high) : make_uint2(low, other);
}

}  // namespace convt3d::cuda
