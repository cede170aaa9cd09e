// SPDX-License-Identifier: BSD-3-Clause
// The weight of a pointwise layer whose positions are folded (patch_config.h): `fold` copies of it
// on the diagonal of a matrix of zeros.
//
//   packed[i * in_channels + ci][j * out_channels + co] = i == j ? weight[ci, co] : 0
#pragma once
#include <cstdint>

namespace convt3d::cuda::shuffle_gemm {

inline constexpr int kPatchPackThreads = 256;

// Bits: an integer of the elements' size.
template <typename Bits>
__global__ __launch_bounds__(kPatchPackThreads) void patch_pack_kernel(
    const Bits* weight, int64_t stride_in, int64_t stride_out, int in_channels, int out_channels,
    int fold, Bits* packed) {
  const int columns = fold * out_channels;
  const int at = static_cast<int>(blockIdx.x) * kPatchPackThreads + static_cast<int>(threadIdx.x);
  if (at >= fold * in_channels * columns) return;
  const int row = at / columns, column = at - row * columns;
  const int i = row / in_channels, j = column / out_channels;
  const int in = row - i * in_channels, out = column - j * out_channels;
  packed[at] = i == j ? weight[in * stride_in + out * stride_out] : Bits{0};
}

}  // namespace convt3d::cuda::shuffle_gemm
