// SPDX-License-Identifier: BSD-3-Clause
// grad_weight, with the letters of kernel.cuh:
//
//   grad_weight[ci, co, s * u + r] = sum over n, q of  grad_output[co, s * q + r - p] * input[ci, q
//   - u]
//
//   M = residues (x out channels), N = taps u x in channels, K = positions q (32 of a tile)
//
//     stage [32][M] lines of grad_output      A [32][N] inputs of a tile
//                       \                      /
//        units of m16 x n64, at most two of a warp, sums in registers for all tiles of the block
//                               |
//                     parts[split][chunk][N][M]
//
// A second launch adds up the splits' parts. A block has at most kMaxSumTiles tiles, for the sake
// of what tensor cores truncate.
//   load lines, fill A | sync | multiply | sync
#pragma once
#include "cuda/subpixel_gemm/kernel.cuh"

namespace convt3d::cuda::subpixel_gemm {

// sums[unit][n8 tile][...]
using WeightSums = float[kMaxUnits][kUnitColumns / 8][4];

template <typename T>
__device__ __forceinline__ uint32_t load_element(uint32_t base, int row, int pitch, int column) {
  return load_shared(base + row * pitch + column * static_cast<int>(sizeof(T)));
}

// A unit: m16 from `column`, n64 from `k` on, `tiles` n8 tiles of it. In one register, as most of
// them hold sums.
struct Unit {
  uint32_t bits;

  // `unit` of a block's; behind the last it has no tiles.
  __device__ Unit(const Params& p, const ResidueClass& c, int unit) {
    const int tiles_m = c.columns / 16, tiles_n = (c.depth + kUnitColumns - 1) / kUnitColumns;
    const int group = unit / tiles_m / tiles_n, k = unit / tiles_m % tiles_n * kUnitColumns;
    const int column = group * c.columns + unit % tiles_m * 16;
    const int tiles = group < p.config.tile_groups ? min(kUnitColumns, c.depth - k) / 8 : 0;
    bits = tiles == 0 ? 0 : column | k << 8 | group << 20 | tiles << 25;
  }
  __device__ int column() const { return bits & 0xff; }
  __device__ int k() const { return bits >> 8 & 0xfff; }
  __device__ int group() const { return bits >> 20 & 0x1f; }
  __device__ int tiles() const { return bits >> 25; }
};
static_assert(kMaxUnits * kWarps * 16 <= 256 && kMaxDepth < 4096 && kUnitColumns / 8 < 128);

template <Precision kPrecision>
__device__ __forceinline__ void multiply_unit(const Shared<ElementOf<kPrecision>>& shared,
                                              Unit unit, float (&sums)[kUnitColumns / 8][4]) {
  using T = ElementOf<kPrecision>;
  const int lane = threadIdx.x % 32;
  const int pitch_x = shared.stage_pitch * static_cast<int>(sizeof(T)), pitch_y = shared.pitch;
  const uint32_t x_base = shared_address(shared.stage);
  const uint32_t y_base = shared_address(shared.a) + unit.group() * kTileRows * pitch_y;
  const int column = unit.column(), k = unit.k(), tiles = unit.tiles();
  if constexpr (sizeof(T) == 2) {
    const uint32_t x_at =
        x_base + (lane % 8 + lane / 16 * 8) * pitch_x + (column + lane / 8 % 2 * 8) * 2;
    const uint32_t y_at = y_base + lane % 16 * pitch_y + (k + lane / 16 * 8) * 2;
#pragma unroll
    for (int step = 0; step < kTileRows; step += 16) {
      uint32_t x[4];
      load_matrices_transposed(x, x_at + step * pitch_x);
#pragma unroll
      for (int n = 0; n < kUnitColumns / 8; n += 2) {
        if (n >= tiles) break;
        uint32_t y[4];
        load_matrices_transposed(y, y_at + step * pitch_y + n * 16);
        const uint32_t first[2] = {y[0], y[1]}, second[2] = {y[2], y[3]};
        mma_sync<T>(sums[n], x, first);
        mma_sync<T>(sums[n + 1], x, second);
      }
    }
  } else {
    const int row = lane % 4, place = lane / 4;
#pragma unroll 1
    for (int step = 0; step < kTileRows; step += 8) {
      const uint32_t whole[4] = {
          load_element<T>(x_base, step + row, pitch_x, column + place),
          load_element<T>(x_base, step + row, pitch_x, column + place + 8),
          load_element<T>(x_base, step + row + 4, pitch_x, column + place),
          load_element<T>(x_base, step + row + 4, pitch_x, column + place + 8)};
      uint32_t x[4], x_rest[4];
      split(whole, x, x_rest);
#pragma unroll
      for (int n = 0; n < kUnitColumns / 8; ++n) {
        if (n >= tiles) break;
        const int at = k + n * 8 + place;
        const uint32_t whole_y[2] = {load_element<T>(y_base, step + row, pitch_y, at),
                                     load_element<T>(y_base, step + row + 4, pitch_y, at)};
        uint32_t y[2], y_rest[2];
        split(whole_y, y, y_rest);
        float part[4] = {};
        mma_sync<T>(part, x_rest, y);
        mma_sync<T>(part, x, y_rest);
        mma_sync<T>(part, x, y);
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[n][i] += part[i];
      }
    }
  }
}

template <Precision kPrecision>
__global__ void __launch_bounds__(kThreads, 2) weight_kernel(const __grid_constant__ Params p) {
  using T = ElementOf<kPrecision>;
  extern __shared__ __align__(128) unsigned char memory[];
  const Job job(p, static_cast<int>(blockIdx.x));
  const ResidueClass& c = *job.c;
  const Shared<T> shared(Places(Direction::grad_weight, p.config, c, p.stride[2], sizeof(T)),
                         memory);
  prepare_lines(p, job, shared);
  __syncthreads();  // segments and zeros are there
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  static_assert(kMaxUnits == 2);
  const Unit units[kMaxUnits] = {Unit(p, c, warp), Unit(p, c, warp + kWarps)};
  WeightSums sums = {};
  const int segments = p.config.tile_lines * c.lines;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile) {
    load_lines<1>(p, shared, segments);
    fill_inputs<2>(p, job, shared);
    __syncthreads();  // stage and A are there
#pragma unroll
    for (int j = 0; j < kMaxUnits; ++j) {
      if (units[j].tiles() > 0) multiply_unit<kPrecision>(shared, units[j], sums[j]);
    }
    prepare_next(p, job, shared, tile + 1);
    __syncthreads();  // stage and A have been read; the next segments are there
  }
  const int split = static_cast<int>(blockIdx.x - c.first_block) % c.splits;
  const int chunk = job.first_line / c.lines;
#pragma unroll
  for (int j = 0; j < kMaxUnits; ++j) {
    const Unit unit = units[j];
    const int64_t slot = (int64_t{split} * p.groups + job.group + unit.group()) * c.chunks + chunk;
    float* const to = p.parts + c.part + (slot * c.depth + unit.k()) * c.columns + unit.column() -
                      unit.group() * c.columns;
#pragma unroll
    for (int n = 0; n < kUnitColumns / 8; ++n) {
      if (n >= unit.tiles()) break;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        to[(n * 8 + lane % 4 * 2 + i % 2) * c.columns + lane / 4 + i / 2 * 8] = sums[j][n][i];
      }
    }
  }
}

// grad_weight from its parts.
template <typename T>
__global__ void __launch_bounds__(kThreads) add_splits(const __grid_constant__ Params p) {
  int rest = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  int tap[3], u[3], residue[3];
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    tap[axis] = rest % p.kernel[axis];
    rest /= p.kernel[axis];
    u[axis] = tap[axis] / p.stride[axis];
    residue[axis] = tap[axis] % p.stride[axis];
  }
  const int out = rest % p.outs, channel = rest / p.outs;
  if (channel >= p.groups * p.ins) return;
  const int group = channel / p.ins, in = channel % p.ins;
  float sum = 0;
  for (int index = 0; index < p.config.num_classes; ++index) {
    const ResidueClass& c = p.config.classes[index];
    const int d = residue[0] - c.residue[0], h = residue[1] - c.residue[1];
    if (d < 0 || h < 0 || d >= c.residues[0] || h >= c.residues[1]) continue;
    const int all = (out / p.config.tile_outs * c.residues[0] + d) * c.residues[1] + h;
    const int column =
        (out % p.config.tile_outs * c.lines + all % c.lines) * p.stride[2] + residue[2];
    const int k = ((u[0] * c.taps[1] + u[1]) * p.config.taps_w + u[2]) * p.ins + in;
    const int64_t slot = int64_t{group} * c.chunks + all / c.lines;
    const float* const from = p.parts + c.part + (slot * c.depth + k) * c.columns + column;
    const int64_t step = int64_t{p.groups} * c.chunks * c.depth * c.columns;
#pragma unroll 8
    for (int split = 0; split < c.splits; ++split) sum += from[split * step];
  }
  static_cast<T*>(p.result)[channel * p.weight_stride[0] + out * p.weight_stride[1] +
                            tap[0] * p.weight_stride[2] + tap[1] * p.weight_stride[3] +
                            tap[2] * p.weight_stride[4]] = narrow<T>(sum);
}

}  // namespace convt3d::cuda::subpixel_gemm
