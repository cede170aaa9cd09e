// SPDX-License-Identifier: BSD-3-Clause
// Forward with tiny out_channels and stride 2, from the side of the input.
//
//   share[i, tap, co] = sum over ci of input[n, ci, i] * weight[ci, co, tap]
//   output[n, co, 2*q + r - p] = bias[co] + sum over j in {0, 1}^3 of share[q - j, 2*j + r, co]
//
// Every input element is read once and meets all its weights in registers: no bounds, no addresses
// in the inner loop. A thread holds all shares of two positions; the cells then gather theirs
// through shared memory, one residue of d and h at a time.
//
//    positions of a block   x x x x x      x: position, shares computed
//                           x o o o o      o: position and cell, outputs gathered
//                           x o o o o      (the first plane, row and column only lend theirs)
//
// supports() guarantees: stride 2, dilation 1, kernel 3 or 4 on all axes, 32-bit counts and
// coordinates. Strides in memory are 64-bit.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/few_channels/config.h"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/vector.cuh"

namespace convt3d::cuda::few_channels {

template <typename Element, int kKernelExtent, int kOutChannels, bool kLong>
struct ScatterInstance {
  using T = Element;
  static constexpr int kKernel = kKernelExtent;
  static constexpr int kOuts = kOutChannels;
  static constexpr bool kLongLoads = kLong;  // one load brings all channels of a step
  static constexpr int kShares = kKernel * kKernel * kKernel * kOuts;
  static constexpr int kRow = scatter_row(kKernel, kOuts);  // floats of one in channel's weights
  static constexpr int kSlots = 4 * kKernel * kOuts;        // shares exchanged at once
};

// The shares of the positions of one thread. Elements come kIns channels ahead, and stay as they
// are until they are used: a conversion would wait for them.
template <typename I>
__device__ __forceinline__ void add_shares(const FewChannels& p, const float* weights,
                                           const char* const (&source)[kOwnPositions],
                                           const bool (&there)[kOwnPositions],
                                           float (&share)[kOwnPositions][I::kShares]) {
  using T = typename I::T;
  constexpr int kIns = 4, kLoad = I::kLongLoads ? kIns : 1;
  Elements<T, kLoad> ahead[kOwnPositions][kIns / kLoad];
  const char* next[kOwnPositions];
#pragma unroll
  for (int s = 0; s < kOwnPositions; ++s) {
    next[s] = source[s];
    keep_in_registers(next[s]);
#pragma unroll
    for (int i = 0; i < kIns / kLoad; ++i) {
      ahead[s][i] = load_elements<kLoad, T>(next[s] + i * p.input_bytes[1],
                                            there[s] && i < p.in_channels, 0, kLoad, true);
    }
  }
#pragma unroll 1
  for (int in = 0; in < p.in_channels; in += kIns) {
    float x[kOwnPositions][kIns];
    const int rest = p.in_channels - in;
#pragma unroll
    for (int s = 0; s < kOwnPositions; ++s) {
#pragma unroll
      for (int i = 0; i < kIns; ++i) x[s][i] = ahead[s][i / kLoad].as_float(i % kLoad);
      next[s] += kIns * p.input_bytes[1];
#pragma unroll
      for (int i = 0; i < kIns / kLoad; ++i) {
        ahead[s][i] = load_elements<kLoad, T>(next[s] + i * p.input_bytes[1],
                                              there[s] && i < rest - kIns, 0, kLoad, true);
      }
    }
#pragma unroll
    for (int i = 0; i < kIns; ++i) {
      if (i >= rest) break;
      const float* row = weights + (in + i) * I::kRow;
#pragma unroll
      for (int a = 0; a < I::kShares; a += 4) {
        float w[4];
        load_weights<4>(row + a, w);
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          if (a + v >= I::kShares) continue;
#pragma unroll
          for (int s = 0; s < kOwnPositions; ++s) {
            share[s][a + v] = fmaf(x[s][i], w[v], share[s][a + v]);
          }
        }
      }
    }
  }
}

// Two outputs that follow each other on w.
template <typename T>
__device__ __forceinline__ void store_pair(T* own, int64_t step, bool hit_a, bool hit_b, T a, T b) {
  if (hit_a && hit_b && step == 1 && reinterpret_cast<uintptr_t>(own) % (2 * sizeof(T)) == 0) {
    Vector<T, 2> values;
    values.value[0] = a;
    values.value[1] = b;
    *reinterpret_cast<Vector<T, 2>*>(own) = values;
    return;
  }
  if (hit_a) own[0] = a;
  if (hit_b) own[step] = b;
}

// The weights of a block's out channels, as float, a row for each in channel; zeros behind them.
template <typename I>
__device__ __forceinline__ void load_scatter_weights(const FewChannels& p, int first_out,
                                                     float* weights) {
  using T = typename I::T;
#pragma unroll 2
  for (int at = threadIdx.x; at < p.in_channels * I::kRow; at += kScatterThreads) {
    const int in = at / I::kRow, share = at % I::kRow;
    const int v = share % I::kOuts, w = share / I::kOuts % I::kKernel;
    const int h = share / (I::kOuts * I::kKernel) % I::kKernel;
    const int d = share / (I::kOuts * I::kKernel * I::kKernel);
    float value = 0;
    if (share < I::kShares && first_out + v < p.out_channels) {
      value = widen(static_cast<const T*>(
          p.weight)[in * p.weight_stride[0] + (first_out + v) * p.weight_stride[1] +
                    d * p.weight_stride[2] + h * p.weight_stride[3] + w * p.weight_stride[4]]);
    }
    weights[at] = value;
  }
}

// One box of cells: the shares of its positions, then its outputs.
template <typename I>
__device__ __forceinline__ void scatter_box(const FewChannels& p, int item, int first_out,
                                            const float* weights, float* exchange) {
  using T = typename I::T;
  int cell[3], extent[3];  // first cell of the box; its positions
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    cell[axis] = p.first_cell[axis] + divide(&item, p.by_tiles[axis]) * p.tile_cells[axis];
    extent[axis] = p.tile_cells[axis] + 1;
  }
  const int n = item;

  float share[kOwnPositions][I::kShares] = {};
  const char* source[kOwnPositions];
  bool there[kOwnPositions];
#pragma unroll
  for (int s = 0; s < kOwnPositions; ++s) {
    int position = threadIdx.x + s * kScatterThreads;
    const int w = cell[2] - 1 + divide(&position, p.by_extent[2]);
    const int h = cell[1] - 1 + divide(&position, p.by_extent[1]);
    const int d = cell[0] - 1 + position;
    there[s] = position < extent[0] && within(d, p.input_extent[0]) &&
               within(h, p.input_extent[1]) && within(w, p.input_extent[2]);
    source[s] = static_cast<const char*>(p.input) + n * p.input_bytes[0] + d * p.input_bytes[2] +
                h * p.input_bytes[3] + w * p.input_bytes[4];
  }
  add_shares<I>(p, weights, source, there, share);

  const int cells = p.tile_cells[0] * p.tile_cells[1] * p.tile_cells[2];
#pragma unroll
  for (int residue = 0; residue < 4; ++residue) {
    const int rd = residue / 2, rh = residue % 2;
    __syncthreads();  // the previous residue's shares are read
#pragma unroll
    for (int slot = 0; slot < I::kSlots; ++slot) {
      const int v = slot % I::kOuts, tap_w = slot / I::kOuts % I::kKernel;
      const int tap_h = slot / (I::kOuts * I::kKernel) % 2 * 2 + rh;
      const int tap_d = slot / (I::kOuts * I::kKernel) / 2 * 2 + rd;
      if (tap_d >= I::kKernel || tap_h >= I::kKernel) continue;
      const int from = ((tap_d * I::kKernel + tap_h) * I::kKernel + tap_w) * I::kOuts + v;
#pragma unroll
      for (int s = 0; s < kOwnPositions; ++s) {
        exchange[slot * kPositions + s * kScatterThreads + threadIdx.x] = share[s][from];
      }
    }
    __syncthreads();  // this residue's shares are there
#pragma unroll 1
    for (int own = threadIdx.x; own < cells; own += kScatterThreads) {
      int rest = own;
      const int w = divide(&rest, p.by_tile_cells[2]), h = divide(&rest, p.by_tile_cells[1]);
      const int d = rest;
      const int output_d = (cell[0] + d) * 2 + rd - p.padding[0];
      const int output_h = (cell[1] + h) * 2 + rh - p.padding[1];
      const int output_w = (cell[2] + w) * 2 - p.padding[2];
      if (!within(output_d, p.output_extent[0]) || !within(output_h, p.output_extent[1])) continue;
#pragma unroll
      for (int v = 0; v < I::kOuts; ++v) {
        if (first_out + v >= p.out_channels) break;
        float pair[2] = {};
#pragma unroll
        for (int slot = v; slot < I::kSlots; slot += I::kOuts) {
          const int tap_w = slot / I::kOuts % I::kKernel;
          const int jh = slot / (I::kOuts * I::kKernel) % 2;
          const int jd = slot / (I::kOuts * I::kKernel) / 2;
          if (2 * jd + rd >= I::kKernel || 2 * jh + rh >= I::kKernel) continue;
          const int position =
              ((d + 1 - jd) * extent[1] + h + 1 - jh) * extent[2] + w + 1 - tap_w / 2;
          pair[tap_w % 2] += exchange[slot * kPositions + position];
        }
        float bias = 0;
        if (p.bias != nullptr) {
          bias = widen(static_cast<const T*>(p.bias)[(first_out + v) * p.bias_stride]);
        }
        T* const output = static_cast<T*>(p.output) + n * p.output_stride[0] +
                          (first_out + v) * p.output_stride[1] + output_d * p.output_stride[2] +
                          output_h * p.output_stride[3] + output_w * p.output_stride[4];
        store_pair(output, p.output_stride[4], within(output_w, p.output_extent[2]),
                   within(output_w + 1, p.output_extent[2]), narrow<T>(pair[0] + bias),
                   narrow<T>(pair[1] + bias));
      }
    }
  }
}

template <typename I>
__global__ __launch_bounds__(kScatterThreads,
                             1) void scatter_kernel(const __grid_constant__ FewChannels p) {
  extern __shared__ __align__(16) float weights[];
  float* const exchange = weights + p.in_channels * I::kRow;  // [slot][position]
  int block = blockIdx.x;
  const int first_out = divide(&block, p.by_channel_tiles) * I::kOuts;
  load_scatter_weights<I>(p, first_out, weights);
  __syncthreads();  // the weights are there for all
#pragma unroll 1
  for (int item = block; item < p.items; item += p.blocks_per_tile) {
    scatter_box<I>(p, item, first_out, weights, exchange);
  }
}

}  // namespace convt3d::cuda::few_channels
