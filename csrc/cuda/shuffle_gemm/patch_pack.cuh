// SPDX-License-Identifier: BSD-3-Clause
// Weights that patches cannot take as they lie.
//
// Forward: parts[.][column][in_channel] = weight[in_channel][column].
//
// float32: parts[0] = weight rounded to TF32, parts[1] = what is left, rounded likewise.
//
// The weight of a pointwise layer whose positions are folded (patch_config.h): `fold` copies of it
// on the diagonal of a matrix of zeros.
//
//   packed[i * in_channels + ci][j * out_channels + co] = i == j ? weight[ci, co] : 0
#pragma once
#include <cstdint>

#include "cuda/common/mma_sync.cuh"
#include "cuda/sm90/overlapping_launch.cuh"

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

// `vectors` of four elements.
static __global__ __launch_bounds__(kPatchPackThreads) void patch_split_kernel(const uint4* weight,
                                                                               int64_t vectors,
                                                                               uint4* parts) {
  sm90::let_next_launch_start();
  const int64_t at = int64_t{blockIdx.x} * kPatchPackThreads + threadIdx.x;
  if (at >= vectors) return;
  const uint4 value = weight[at];
  const uint32_t four[4] = {value.x, value.y, value.z, value.w};
  uint32_t high[4], low[4];
  split_tf32(four, high, low);
  parts[at] = make_uint4(high[0], high[1], high[2], high[3]);
  parts[vectors + at] = make_uint4(low[0], low[1], low[2], low[3]);
}

inline constexpr int kPatchTurn = 32;

// A tile of kPatchTurn x kPatchTurn elements, eight rows at a time.
template <bool kSplits>
__global__ __launch_bounds__(kPatchPackThreads) void patch_turn_kernel(const uint32_t* weight,
                                                                       int depth, int columns,
                                                                       uint32_t* parts) {
  constexpr int kRows = kPatchPackThreads / kPatchTurn;
  __shared__ uint32_t tile[kPatchTurn][kPatchTurn + 1];
  sm90::let_next_launch_start();
  const int x = static_cast<int>(threadIdx.x) % kPatchTurn;
  const int y = static_cast<int>(threadIdx.x) / kPatchTurn;
  const int column = static_cast<int>(blockIdx.x) * kPatchTurn;
  const int channel = static_cast<int>(blockIdx.y) * kPatchTurn;
#pragma unroll
  for (int i = y; i < kPatchTurn; i += kRows) {
    if (channel + i < depth && column + x < columns) {
      tile[i][x] = weight[int64_t{channel + i} * columns + column + x];
    }
  }
  __syncthreads();  // the tile is there
#pragma unroll
  for (int i = y; i < kPatchTurn; i += kRows) {
    if (column + i >= columns || channel + x >= depth) continue;
    const int64_t at = int64_t{column + i} * depth + channel + x;
    uint32_t value[1] = {tile[x][i]};
    if constexpr (kSplits) {
      uint32_t high[1], low[1];
      split_tf32(value, high, low);
      parts[at] = high[0];
      parts[int64_t{columns} * depth + at] = low[0];
    } else {
      parts[at] = value[0];
    }
  }
}

}  // namespace convt3d::cuda::shuffle_gemm
