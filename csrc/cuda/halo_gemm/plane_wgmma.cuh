// SPDX-License-Identifier: BSD-3-Clause
// Operands of wgmma_shared.cuh in rows of 64 swizzled bytes of K: 16-byte piece i of a row lies at
// i ^ (address / 128 % 4), and a matrix may start at any row.
#pragma once
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::halo_gemm {

// Of the rows from `address` on, plus 32 bytes per step of K.
__device__ __forceinline__ uint64_t plane_descriptor(uint32_t address, int row_bytes) {
  return sm90::descriptor(address >> 4 | 1u << 16, sm90::mn_descriptor_high(row_bytes));
}

}  // namespace convt3d::cuda::halo_gemm
