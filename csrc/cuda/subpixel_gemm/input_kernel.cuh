// SPDX-License-Identifier: BSD-3-Clause
// grad_input, with the letters of kernel.cuh:
//
//   grad_input[ci, i] = sum over u of  C[i + u][u, ci],
//   C[q][u, ci] = sum over co, r of  grad_output[co, s * q + r - p] * weight[ci, co, s * u + r]
//
//   M = positions q (32 of a tile), N = taps u x in channels, K = residues (x out channels)
//
//     stage [32][K] lines of grad_output      B [N][K] weights of a chunk: stay for all tiles
//                       \                      /
//                    m16 x n16 of a warp at a time
//                               |
//     sums [32][N] ---- added up over u of w, along the line ----> parts[chunk][u of d, h; ci][i]
//
// A second launch adds up the parts, in the order of classes, chunks and taps.
//   load lines | sync | multiply, fill sums | sync | add up, store parts
#pragma once
#include "cuda/subpixel_gemm/kernel.cuh"

namespace convt3d::cuda::subpixel_gemm {

// B[depth][column] of each group, which has columns of its own.
template <typename T>
__device__ __forceinline__ void fill_rows(const Params& p, const ResidueClass& c,
                                          const Shared<T>& shared) {
  constexpr int kUnroll = 6;
  const int lane = threadIdx.x % 32;
  const T* const weight = static_cast<const T*>(p.weight);
  const int words = p.config.tile_groups * c.columns / kPerWord<T>;
  const int blocks = (words + 31) / 32, items = round_up(c.depth, 16) * blocks;
#pragma unroll 1
  for (int first = threadIdx.x / 32; first < items; first += kWarps * kUnroll) {
    uint32_t word[kUnroll];
    int place[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int item = min(first + u * kWarps, items - 1);
      const int k = item / blocks, n = item % blocks * 32 + lane;
      const bool real = k < c.depth;
      const DepthRow& row = shared.depth[real ? k : 0];
      place[u] = n < words ? k * (shared.stage_pitch / kPerWord<T>)+n : -1;
      word[u] = 0;
#pragma unroll
      for (int i = 0; i < kPerWord<T>; ++i) {
        const Column& column = shared.columns[min(n, words - 1) * kPerWord<T> + i];
        word[u] |= load_bits(weight + column.weight + row.weight,
                             real && is_below(column.residue, row.limit))
                   << 16 * i;
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (place[u] >= 0) reinterpret_cast<uint32_t*>(shared.b)[place[u]] = word[u];
    }
  }
}

// C of a tile to sums: m16 x n16 of a group at a time.
template <Precision kPrecision>
__device__ __forceinline__ void multiply_lines(const Params& p, const ResidueClass& c,
                                               const Shared<ElementOf<kPrecision>>& shared) {
  using T = ElementOf<kPrecision>;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  const int lane = threadIdx.x % 32;
  const int pairs = round_up(c.depth, 16) / 16, items = 2 * pairs * p.config.tile_groups;
  const int pitch = shared.stage_pitch * static_cast<int>(sizeof(T));
#pragma unroll 1
  for (int item = threadIdx.x / 32; item < items; item += kWarps) {
    const int m = item % 2 * 16, pair = item / 2 % pairs, group = item / 2 / pairs;
    const int group_at = group * c.columns * static_cast<int>(sizeof(T));
    uint32_t x_at =
        shared_address(shared.stage) + (m + lane % 16) * pitch + lane / 16 * 16 + group_at;
    uint32_t y_at = shared_address(shared.b) + (pair * 16 + lane % 8 + lane / 16 * 8) * pitch +
                    lane / 8 % 2 * 16 + group_at;
    float sums[2][4] = {};
#pragma unroll 4
    for (int left = c.columns * static_cast<int>(sizeof(T)); left > 0; left -= 32) {
      uint32_t x[4], x_rest[4], y[4], y_rest[4];
      load_matrices(x, x_at);
      load_matrices(y, y_at);
      x_at += 32, y_at += 32;
      if constexpr (kSplit) {
        const uint32_t whole_x[4] = {x[0], x[1], x[2], x[3]};
        const uint32_t whole_y[4] = {y[0], y[1], y[2], y[3]};
        split(whole_x, x, x_rest);
        split(whole_y, y, y_rest);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const uint32_t high[2] = {y[2 * n], y[2 * n + 1]};
        if constexpr (kSplit) {
          const uint32_t low[2] = {y_rest[2 * n], y_rest[2 * n + 1]};
          float part[4] = {};
          mma_sync<T>(part, x_rest, high);
          mma_sync<T>(part, x, low);
          mma_sync<T>(part, x, high);
#pragma unroll
          for (int i = 0; i < 4; ++i) sums[n][i] += part[i];
        } else {
          mma_sync<T>(sums[n], x, high);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int row = m + lane / 4 + i / 2 % 2 * 8;
      const int k = pair * 16 + i / 4 * 8 + lane % 4 * 2 + i % 2;
      float sum = sums[i / 4][i % 4];
      if (is_doubtful<kSplit>(sum) && k < c.depth) {  // once more in float32, without padding
        const T* const a = shared.stage + row * shared.stage_pitch + group * c.columns;
        const T* const b = shared.b + k * shared.stage_pitch + group * c.columns;
        const Column* const column = shared.columns + group * c.columns;
        sum = 0;
#pragma unroll 1
        for (int n = 0; n < c.columns; ++n) {
          if (!is_below(column[n].residue, shared.depth[k].limit)) continue;
          sum = fmaf(widen(a[n]), widen(b[n]), sum);
        }
      }
      shared.sums[(group * kTileRows + row) * shared.sums_pitch + k] = sum;
    }
  }
}

// sums to parts: taps of d and h, each added up over those of w.
template <typename T>
__device__ __forceinline__ void store_parts(const Params& p, const Job& job,
                                            const Shared<T>& shared, int chunk, int tile) {
  const ResidueClass& c = *job.c;
  const Config& config = p.config;
  const int part = tile % config.parts_w;
  const int first_line = tile / config.parts_w * config.tile_lines;
  const int lines = p.batch * c.num_q[0] * c.num_q[1];
  const int first_q = config.first_q + part * config.step_w;
  const int width = p.input_extent[2];
  const int begin = config.parts_w == 1 ? 0 : first_q;
  const int count = config.parts_w == 1 ? width : min(config.step_w, width - begin);
  const int taps = c.taps[0] * c.taps[1];
  const int rows = taps * p.ins;
  const int all = config.tile_groups * config.tile_lines * rows * count;
  for (int index = threadIdx.x; index < all; index += kThreads) {
    int rest = index;
    const int i = begin + rest % count;
    rest /= count;
    const int row = rest % rows;  // tap of d and h, in channel
    rest /= rows;
    const int line = rest % config.tile_lines, group = rest / config.tile_lines;
    if (first_line + line >= lines) continue;
    const float* from = shared.sums +
                        (group * kTileRows + line * config.tile_w) * shared.sums_pitch +
                        row / p.ins * config.taps_w * p.ins + row % p.ins;
    float sum = 0;
    for (int w = 0; w < config.taps_w; ++w) {
      const int position = i + w - first_q;
      if (position < 0 || position >= config.tile_w) continue;
      sum += from[position * shared.sums_pitch + w * p.ins];
    }
    const int64_t slot = int64_t{job.group + group} * c.chunks + chunk;
    p.parts[c.part + ((slot * lines + first_line + line) * rows + row) * width + i] = sum;
  }
}

template <Precision kPrecision>
__global__ void __launch_bounds__(kThreads, 2) input_kernel(const __grid_constant__ Params p) {
  using T = ElementOf<kPrecision>;
  extern __shared__ __align__(128) unsigned char memory[];
  const Job job(p, static_cast<int>(blockIdx.x));
  const ResidueClass& c = *job.c;
  const Shared<T> shared(Places(Direction::grad_input, p.config, c, p.stride[2], sizeof(T)),
                         memory);
  prepare_lines(p, job, shared);
  fill_rows(p, c, shared);
  __syncthreads();  // segments and zeros are there
  const int chunk = job.first_line / c.lines;
  const int segments = p.config.tile_lines * c.lines;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile) {
    load_lines<2>(p, shared, segments);
    __syncthreads();  // stage is there, at first B too; the last tile's sums have been read
    multiply_lines<kPrecision>(p, c, shared);
    prepare_next(p, job, shared, tile + 1);
    __syncthreads();  // sums and the next segments are there; stage has been read
    store_parts(p, job, shared, chunk, tile);
  }
}

// grad_input from its parts.
template <typename T>
__global__ void __launch_bounds__(kThreads) add_parts(const __grid_constant__ Params p) {
  const int channels = p.groups * p.ins;
  int rest = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int w = rest % p.input_extent[2];
  rest /= p.input_extent[2];
  const int h = rest % p.input_extent[1];
  rest /= p.input_extent[1];
  const int d = rest % p.input_extent[0];
  rest /= p.input_extent[0];
  const int channel = rest % channels, n = rest / channels;
  if (n >= p.batch) return;
  const int group = channel / p.ins, in = channel % p.ins;
  float sum = 0;
  for (int index = 0; index < p.config.num_classes; ++index) {
    const ResidueClass& c = p.config.classes[index];
    const int rows = c.taps[0] * c.taps[1] * p.ins;
    const int64_t lines = int64_t{p.batch} * c.num_q[0] * c.num_q[1];
    const int64_t chunk_step = lines * rows * p.input_extent[2];
    for (int u = 0; u < c.taps[0]; ++u) {
      const int qd = d + u - c.first_q[0];
      if (qd < 0 || qd >= c.num_q[0]) continue;
      for (int v = 0; v < c.taps[1]; ++v) {
        const int qh = h + v - c.first_q[1];
        if (qh < 0 || qh >= c.num_q[1]) continue;
        const int64_t line = (int64_t{n} * c.num_q[0] + qd) * c.num_q[1] + qh;
        const float* from = p.parts + c.part + group * c.chunks * chunk_step +
                            (line * rows + (u * c.taps[1] + v) * p.ins + in) * p.input_extent[2] +
                            w;
#pragma unroll 4
        for (int chunk = 0; chunk < c.chunks; ++chunk) sum += from[chunk * chunk_step];
      }
    }
  }
  static_cast<T*>(p.result)[n * p.input_stride[0] + channel * p.input_stride[1] +
                            d * p.input_stride[2] + h * p.input_stride[3] + w * p.input_stride[4]] =
      narrow<T>(sum);
}

}  // namespace convt3d::cuda::subpixel_gemm
