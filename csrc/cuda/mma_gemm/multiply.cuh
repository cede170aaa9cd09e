// SPDX-License-Identifier: BSD-3-Clause
// A few steps of the product: 32 rows of a warp, 32 bytes of channels each.
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/implicit_gemm/operand.cuh"

namespace convt3d::cuda::mma_gemm {

// m16 tiles of a warp. A step's weights are read by each warp for as many rows.
inline constexpr int kTiles = 2;

// Two groups of 8 columns, `column` and the next, of one step: implicit_gemm/weight_pack.cuh keeps
// them as 512 contiguous bytes, four matrices in the order of a lane's operands.
template <int kSteps, int kColumns>
__device__ __forceinline__ void load_columns(uint32_t (&b)[kSteps][2][2], uint32_t weight,
                                             int column) {
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    uint32_t part[4];
    load_matrices(part, weight + s * (kColumns * 32) + column * 32);
    b[s][0][0] = part[0], b[s][0][1] = part[1], b[s][1][0] = part[2], b[s][1][1] = part[3];
  }
}

// sum += kSteps steps. `row`, `from`: this lane's ldmatrix rows of A; `weight`: its row of B;
// `rest`: how far behind are the rests of fp32's weights. Tensor cores truncate as they accumulate,
// so that every sum there starts from zero, and is added up with rounding in registers.
template <Precision kPrecision, int kColumns, int kSteps>
__device__ __forceinline__ void multiply(float (&sum)[kTiles][kColumns / 2],
                                         const uint32_t (&row)[kTiles], uint32_t from,
                                         uint32_t weight, uint32_t rest) {
  using T = typename implicit_gemm::Operand<kPrecision>::T;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  uint32_t a[kSteps][kTiles][4], a_rest[kSplit ? kSteps : 1][kTiles][4];
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      load_matrices(a[s][m], row[m] + from + s * 32);
      if constexpr (kSplit) {
        const uint32_t exact[4] = {a[s][m][0], a[s][m][1], a[s][m][2], a[s][m][3]};
        split_tf32(exact, a[s][m], a_rest[s][m]);
      } else if constexpr (kPrecision == Precision::tf32) {
#pragma unroll
        for (uint32_t& value : a[s][m]) value = round_to_tf32(value);
      }
    }
  }
#pragma unroll
  for (int column = 0; column < kColumns; column += 16) {
    float part[kTiles][2][4] = {};
    uint32_t b[kSteps][2][2];
    load_columns<kSteps, kColumns>(b, weight, column);
    const auto products = [&](const auto& x, const auto& y) {
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
          mma_sync<T>(part[m][0], x[s][m], y[s][0]);
          mma_sync<T>(part[m][1], x[s][m], y[s][1]);
        }
      }
    };
    if constexpr (kSplit) {
      uint32_t b_rest[kSteps][2][2];
      load_columns<kSteps, kColumns>(b_rest, weight + rest, column);
      // The small products first.
      products(a_rest, b);
      products(a, b_rest);
    }
    products(a, b);
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int i = 0; i < 8; ++i) sum[m][column / 2 + i] += part[m][i / 4][i % 4];
    }
    __syncwarp();
  }
}

}  // namespace convt3d::cuda::mma_gemm
