// SPDX-License-Identifier: BSD-3-Clause
// Forward as a sub-pixel convolution. With o + p = s * q + r and t = s * u + r on each axis,
//
//   output[co, s * q + r - p] = sum over u, ci of  input[ci, q - u] * weight[ci, co, s * u + r]
//
// is a convolution of stride 1 whose kernel has ceil(k / s) taps u, and whose result has a channel
// for each residue r: a product per group, and a shuffle.
//
//   M = positions q (32 of a tile), N = residues (x out channels), K = taps u x in channels
//
//     A [32][K] inputs of a tile     B [N][K] weights of a chunk of residues: stay for all tiles
//                    \                /
//          16 or 32 columns of a warp, sums in registers
//                           |
//     stage [32][N]  ---- (q, r) of w are neighbours in the output ---->  whole lines
//
// A block has one chunk of lines (pairs of residues of d and h), and walks over tiles:
//   fill A | sync | multiply, fill stage | sync | store lines      (other blocks of the SM overlap)
//
// A sum that is not finite, or so small that TF32 may have lost a part, is computed once more in
// float32 without the padding of the kernel. supports() guarantees 32-bit extents, at most
// kMaxAxisTaps taps u an axis, and that it all fits.
#pragma once
#include "cuda/common/doubtful.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/subpixel_gemm/lines.cuh"

namespace convt3d::cuda::subpixel_gemm {

// sums[pair][m16 tile][n8 tile][...]
using Sums = float[kMaxPairs][2][2][4];

// Sums of this warp's pairs of n8 tiles, `pairs` of them from `first` on.
template <Precision kPrecision>
__device__ __forceinline__ void multiply(const Shared<ElementOf<kPrecision>>& shared,
                                         const ResidueClass& c, int first, int pairs, Sums& sums) {
  using T = ElementOf<kPrecision>;
  const uint32_t a = shared_address(shared.a), b = shared_address(shared.b);
  const int pitch = shared.pitch;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  const int lane = threadIdx.x % 32;
  const uint32_t own = a + lane % 16 * pitch + lane / 16 * 16;
  const uint32_t group_pitch = kTileRows * pitch;
  uint32_t from[kMaxPairs], with[kMaxPairs];
#pragma unroll
  for (int j = 0; j < kMaxPairs; ++j) {
    const int column = (first + min(j, pairs - 1)) * 16;
    from[j] = own + column / c.columns * group_pitch;
    with[j] = b + (column + lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 16;
  }
#pragma unroll 1
  for (int at = 0; at < pitch - 16; at += 32) {
    uint32_t x[2][4], x_rest[2][4];
#pragma unroll
    for (int j = 0; j < kMaxPairs; ++j) {
      if (j >= pairs) break;
      if (j == 0 || from[j] != from[0]) {
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          load_matrices(x[m], from[j] + m * 16 * pitch + at);
          if constexpr (kSplit) {
            const uint32_t whole[4] = {x[m][0], x[m][1], x[m][2], x[m][3]};
            split(whole, x[m], x_rest[m]);
          }
        }
      }
      uint32_t y[4];
      load_matrices(y, with[j] + at);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const uint32_t whole[2] = {y[2 * n], y[2 * n + 1]};
        if constexpr (kSplit) {
          // The tensor cores truncate when they add: each step starts from zero, the small products
          // first.
          uint32_t high[2], low[2];
          split(whole, high, low);
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            float part[4] = {};
            mma_sync<T>(part, x_rest[m], high);
            mma_sync<T>(part, x[m], low);
            mma_sync<T>(part, x[m], high);
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[j][m][n][i] += part[i];
          }
        } else {
#pragma unroll
          for (int m = 0; m < 2; ++m) mma_sync<T>(sums[j][m][n], x[m], whole);
        }
      }
    }
  }
}

// One sum in float32: the products that there are.
template <typename T>
__device__ float sum_again(const T* x, const T* y, const DepthRow* depth, const DepthRow* end,
                           const Column* column) {
  float sum = 0;
  for (; depth != end; ++depth, ++x, ++y) {
    if (depth->taps == kNoTap || !is_below(column->residue, depth->limit)) continue;
    sum = fmaf(widen(*x), widen(*y), sum);
  }
  return sum;
}

// Whether is_doubtful() may hold for any of them; zeros count.
template <bool kSplit>
__device__ __forceinline__ bool any_doubtful(const float (&sums)[2][2][4]) {
  AnyDoubtful<kSplit> any;
#pragma unroll
  for (int i = 0; i < 16; ++i) any.see(sums[i / 8][i / 4 % 2][i % 4]);
  return any.found();
}

// The sums of a pair, with bias, to stage.
template <Precision kPrecision>
__device__ __forceinline__ void put_in_stage(const Shared<ElementOf<kPrecision>>& shared,
                                             const ResidueClass& c, int pair,
                                             const float (&sums)[2][2][4]) {
  using T = ElementOf<kPrecision>;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  const int row = threadIdx.x % 32 / 4, column = pair * 16 + threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    const float bias[2] = {shared.columns[column + 8 * n].bias,
                           shared.columns[column + 8 * n + 1].bias};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      T* const to = shared.stage + (row + 8 * i) * shared.stage_pitch + column + 8 * n;
      const float first = sums[i / 2][n][i % 2 * 2] + bias[0];
      const float second = sums[i / 2][n][i % 2 * 2 + 1] + bias[1];
      if constexpr (sizeof(T) == 4) {
        *reinterpret_cast<float2*>(to) = make_float2(first, second);
      } else {
        T both[2] = {narrow<T>(first), narrow<T>(second)};
        *reinterpret_cast<uint32_t*>(to) = *reinterpret_cast<const uint32_t*>(both);
      }
    }
  }
  if (!any_doubtful<kSplit>(sums)) return;
  uint32_t doubtful = 0;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    doubtful |= static_cast<uint32_t>(is_doubtful<kSplit>(sums[i / 8][i / 4 % 2][i % 4])) << i;
  }
#pragma unroll 1
  for (; doubtful != 0; doubtful &= doubtful - 1) {
    const int i = __ffs(static_cast<int>(doubtful)) - 1;
    const int m = row + i / 8 * 16 + i / 2 % 2 * 8, n = column + i / 4 % 2 * 8 + i % 2;
    const int elements = shared.pitch / static_cast<int>(sizeof(T));
    const float sum =
        sum_again(shared.a + (n / c.columns * kTileRows + m) * elements, shared.b + n * elements,
                  shared.depth, shared.depth + c.depth, shared.columns + n);
    shared.stage[m * shared.stage_pitch + n] = narrow<T>(sum + shared.columns[n].bias);
  }
}

template <Precision kPrecision>
__global__ void __launch_bounds__(kThreads, blocks_per_sm(kPrecision))
    forward_kernel(const __grid_constant__ Params p) {
  using T = ElementOf<kPrecision>;
  extern __shared__ __align__(128) unsigned char memory[];
  const Job job(p, static_cast<int>(blockIdx.x));
  const ResidueClass& c = *job.c;
  const Config& config = p.config;
  const Shared<T> shared(Places(Direction::forward, config, c, p.stride[2], sizeof(T)), memory);
  fill_tables(p, job, shared);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (warp == kWarps - 1) put_positions(p, job, shared, job.first_tile);
  __syncthreads();  // tables and positions are there
  fill_weights(p, job, shared);
  const int pairs = config.tile_groups * c.columns / 16;
  const int share = (pairs + kWarps - 1) / kWarps;
  const int first_pair = warp * share, own_pairs = min(share, pairs - first_pair);
  const int segments = config.tile_lines * c.lines;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile) {
    fill_inputs<4>(p, job, shared);
    __syncthreads();  // A is there, at first B too; the last tile's stage has been read
    if (own_pairs > 0) {
      Sums sums = {};
      multiply<kPrecision>(shared, c, first_pair, own_pairs, sums);
#pragma unroll
      for (int j = 0; j < kMaxPairs; ++j) {
        if (j < own_pairs) put_in_stage<kPrecision>(shared, c, first_pair + j, sums[j]);
      }
    }
    if (warp == kWarps - 1) {
      fill_segments(p, job, shared, tile);
      __syncwarp();  // the lines have been read
      put_positions(p, job, shared, tile + 1);
    }
    __syncthreads();  // stage, segments and the next positions are there; A has been read
    store_lines(p, shared, segments);
  }
}

}  // namespace convt3d::cuda::subpixel_gemm
