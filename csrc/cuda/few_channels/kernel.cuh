// SPDX-License-Identifier: BSD-3-Clause
// Forward with few channels per group, on the CUDA cores.
//
//   output[n, co, s*q + r - p] = bias[co] + sum over ci, j of
//                                input[n, ci, q - j] * weight[ci, co, s*j + r]        (per axis)
//
// "Cell" q of an axis holds the s outputs from s*q - p on; all of them read the same inputs. A
// thread keeps a run of kCells cells along one of d and h, all residues on w, and kOuts channels:
//
//      w ->   q        q+1          block: one residue of d and one of h, so all threads use the
//    run  +--------+--------+       same taps; the weights of its out channels wait in shared
//     |   | r0  r1 |        |       memory as float, [tap][in channel][out channel]
//     v   +--------+--------+
//         | r0  r1 |        |       an input row is loaded once for all cells of the run and all
//         +--------+--------+       residues on w that read it
//    thread 0 ^^    ^^ thread 1 (planes); other mappings put neighbours on channels, see config.h
//
// supports() guarantees: stride on w 1 or 2, no dilation beside stride 2 there, 32-bit counts and
// coordinates, weights of a block within kMaxShared. Strides in memory are 64-bit.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/few_channels/config.h"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/store.cuh"
#include "cuda/few_channels/vector.cuh"

namespace convt3d::cuda::few_channels {

constexpr int cells_for(Mapping mapping, int stride_w, int outs, int ins) {
  int cells = (outs <= 4 ? kMaxLongSums : kMaxSums) / (stride_w * outs);
  if (ins > 1 && cells > 4) cells = 4;
  // A reduction hands every thread its share of the sums.
  if (mapping == Mapping::reduction && cells * stride_w * outs < kReductionLanes) {
    cells = kReductionLanes / (stride_w * outs);
  }
  return cells > kMaxCells ? kMaxCells : cells;
}

template <typename Element, Mapping kMap, int kStrideWidth, int kTapsWidth, int kOutChannels,
          int kInChannels>
struct Instance {
  using T = Element;
  static constexpr Mapping kMapping = kMap;
  static constexpr int kStrideW = kStrideWidth;
  static constexpr int kTapsW = kTapsWidth;  // 0: any number
  static constexpr int kOuts = kOutChannels;
  static constexpr int kIns = kInChannels;
  static constexpr int kCells = cells_for(kMap, kStrideWidth, kOutChannels, kInChannels);
  static constexpr bool kLong = kMap != Mapping::depthwise && kOuts <= 4;  // several chains
  // In channels that one out channel takes of those loaded at once.
  static constexpr int kInsPerOut = kMap == Mapping::depthwise ? kIns / kOuts : kIns;
  static constexpr int kSums = kCells * kStrideW * kOuts;
};

// What all lines of a thread share: addresses of its channels, and which inputs on w there are.
template <typename I>
struct Thread {
  const char* input;    // own batch item, group, cell on w, and row of the first tap
  const float* weight;  // of the own channels, tap 0, first in channel
  int ins;              // in channels left from `input` on
  int outs_row;         // floats between the weights of neighbouring in channels
};

// Adds the taps (tap_outer, first_tap_run + j * step, all of w) of `kTapsRun` neighbouring j.
template <typename I, int kTapsRun>
__device__ __forceinline__ void add_lines(const FewChannels& p, const Thread<I>& thread,
                                          const Place& place, const char* corner,
                                          const float* weight, int last_row, int weight_step_run,
                                          int weight_step_w, float (&sum)[I::kSums]) {
  using T = typename I::T;
  // Inputs on w at once; of those, how many there are.
  constexpr int kStepsW = I::kTapsW == 0 ? 2 : (I::kTapsW + I::kStrideW - 1) / I::kStrideW;
  const int steps_w = I::kTapsW == 0 ? (p.kernel[2] + I::kStrideW - 1) / I::kStrideW : kStepsW;
  const int step_w = I::kStrideW == 1 ? p.dilation_w : 1;
  const int first_row = last_row - (kTapsRun - 1);
#pragma unroll 1
  for (int base = 0; base < steps_w; base += kStepsW) {
    const char* source[kStepsW];
    bool there[kStepsW];
#pragma unroll
    for (int step = 0; step < kStepsW; ++step) {
      const int w = place.w - (base + step) * step_w;
      there[step] = within(w, p.input_extent[2]);
      source[step] =
          corner - (kTapsRun - 1) * p.input_bytes[3] - (base + step) * step_w * p.input_bytes[4];
      keep_in_registers(source[step]);
    }
#pragma unroll
    for (int row = 0; row < I::kCells + kTapsRun - 1; ++row) {
      // Cell c reads it through tap j = c + kTapsRun - 1 - row.
      const bool row_there = within(first_row + row, p.input_extent[1]);
      Elements<T, I::kIns> x[kStepsW];
#pragma unroll
      for (int step = 0; step < kStepsW; ++step) {
        x[step] = load_elements<I::kIns, T>(source[step], row_there && there[step],
                                            p.input_bytes[1], thread.ins, p.long_loads);
        source[step] += p.input_bytes[3];
      }
#pragma unroll
      for (int c = 0; c < I::kCells; ++c) {
        const int j = c + kTapsRun - 1 - row;
        if (j < 0 || j >= kTapsRun) continue;
#pragma unroll
        for (int step = 0; step < kStepsW; ++step) {
#pragma unroll
          for (int r = 0; r < I::kStrideW; ++r) {
            const int tap = (base + step) * I::kStrideW + r;
            if (tap >= (I::kTapsW == 0 ? p.kernel[2] : I::kTapsW)) continue;
            const float* factors = weight + j * weight_step_run + tap * weight_step_w;
            float* own = sum + (c * I::kStrideW + r) * I::kOuts;
#pragma unroll
            for (int i = 0; i < I::kInsPerOut; ++i) {
              float w[I::kOuts];
              load_weights<I::kOuts>(factors + i * thread.outs_row, w);
#pragma unroll
              for (int v = 0; v < I::kOuts; ++v) {
                const int of = I::kMapping == Mapping::depthwise ? v * I::kInsPerOut + i : i;
                own[v] = fmaf(x[step].as_float(of), w[v], own[v]);
              }
            }
          }
        }
      }
    }
  }
}

// The weights of a block's out channels, as float; zeros for channels beyond the last.
template <typename I>
__device__ __forceinline__ void load_tile_weights(const FewChannels& p, int first_out, int outs,
                                                  float* weights) {
  using T = typename I::T;
  const int count = p.kernel[0] * p.kernel[1] * p.kernel[2] * p.in_channels * p.tile_outs;
  for (int index = threadIdx.x; index < count; index += kThreads) {
    int rest = index;
    const int out = divide(&rest, p.by_tile_outs), in = divide(&rest, p.by_ins);
    const int w = divide(&rest, p.by_kernel[2]), run = divide(&rest, p.by_kernel[1]);
    float value = 0;
    if (out < outs) {
      int group = first_out + out;
      const int out_of_group = divide(&group, p.by_outs);
      value = widen(static_cast<const T*>(
          p.weight)[(int64_t{group} * p.in_channels + in) * p.weight_stride[0] +
                    out_of_group * p.weight_stride[1] + rest * p.weight_stride[2] +
                    run * p.weight_stride[3] + w * p.weight_stride[4]]);
    }
    weights[index] = value;
  }
}

// All products of one thread, for its residues.
template <typename I>
__device__ __forceinline__ void add_all(const FewChannels& p, const Thread<I>& thread,
                                        const Place& place, int first_in, int step_ins,
                                        float (&sum)[I::kSums]) {
  const Taps &outer = p.taps[0], &run = p.taps[1];
  const int step_w = p.in_channels * p.tile_outs, step_run = p.kernel[2] * step_w;
  const int taps_run = run.num_taps[place.residue[1]];
  const int first_row = place.run - run.first_shift[place.residue[1]];
  float chain_sum[I::kLong ? I::kSums : 1] = {};
  int chain = 0;
#pragma unroll 1
  for (int jo = 0; jo < outer.num_taps[place.residue[0]]; ++jo) {
    const int coordinate =
        place.outer - outer.first_shift[place.residue[0]] - jo * outer.shift_step;
    if (!within(coordinate, p.input_extent[0])) continue;
    const int tap_outer = outer.first_tap[place.residue[0]] + jo * outer.tap_step;
    const float* weight_plane =
        thread.weight + (tap_outer * p.kernel[1] + run.first_tap[place.residue[1]]) * step_run;
    const int step_j = run.tap_step * step_run;
#pragma unroll 1
    for (int in = first_in; in < thread.ins; in += step_ins) {
      Thread<I> part = thread;
      part.ins = thread.ins - in;
      const char* corner = thread.input + in * p.input_bytes[1] + coordinate * p.input_bytes[2];
      const float* weight = weight_plane + in * p.tile_outs;
      const auto add = [&](auto& target) {
        if (I::kTapsW != 0 && run.shift_step == 1 && taps_run == 2) {
          add_lines<I, 2>(p, part, place, corner, weight, first_row, step_j, step_w, target);
        } else if (I::kTapsW != 0 && I::kStrideW == 1 && run.shift_step == 1 && taps_run == 3) {
          add_lines<I, 3>(p, part, place, corner, weight, first_row, step_j, step_w, target);
        } else {
#pragma unroll 1
          for (int j = 0; j < taps_run; ++j) {
            const int shift = j * run.shift_step;
            add_lines<I, 1>(p, part, place, corner - shift * p.input_bytes[3], weight + j * step_j,
                            first_row - shift, step_j, step_w, target);
          }
        }
      };
      if constexpr (I::kLong) {
        add(chain_sum);
        chain += taps_run * p.kernel[2] * I::kInsPerOut;
        if (chain >= kChain) {
          chain = 0;
#pragma unroll
          for (int s = 0; s < I::kSums; ++s) {
            sum[s] += chain_sum[s];
            chain_sum[s] = 0;
          }
        }
      } else {
        add(sum);
      }
    }
  }
  if constexpr (I::kLong) {
#pragma unroll
    for (int s = 0; s < I::kSums; ++s) sum[s] += chain_sum[s];
  }
}

template <typename I>
__global__ __launch_bounds__(kThreads,
                             2) void few_channels_kernel(const __grid_constant__ FewChannels p) {
  using T = typename I::T;
  extern __shared__ __align__(16) float weights[];
  const int tile = blockIdx.x / p.blocks_per_tile, block = blockIdx.x % p.blocks_per_tile;
  int first_out = tile * p.tile_outs, outs = p.groups * p.out_channels - first_out;
  if constexpr (I::kMapping == Mapping::planes) {
    const int group = tile / p.tiles_per_group;
    const int of_group = tile % p.tiles_per_group * I::kOuts;
    first_out = group * p.out_channels + of_group;
    outs = p.out_channels - of_group;
  }
  load_tile_weights<I>(p, first_out, outs, weights);
  __syncthreads();  // the weights are there for all

  const int lane = threadIdx.x % p.lanes, own_position = threadIdx.x / p.lanes;
  const bool reduces = I::kMapping == Mapping::reduction;
  // Out channels and in channels of this thread.
  const int own_out = reduces ? 0 : lane * I::kOuts;
  const int group = (first_out + own_out) / p.out_channels;
  const int own_outs = min(outs - own_out, I::kOuts);
  Thread<I> thread;
  thread.weight = weights + own_out;
  thread.outs_row = p.tile_outs;
  thread.ins = I::kMapping == Mapping::depthwise ? p.in_channels * own_outs : p.in_channels;
  const int first_in = reduces ? lane * I::kIns : 0;
  const int step_ins = reduces ? p.lanes * I::kIns : I::kIns;
  float bias[I::kOuts];
#pragma unroll
  for (int v = 0; v < I::kOuts; ++v) {
    const int64_t at = int64_t{first_out + own_out + v} * p.bias_stride;
    bias[v] = p.bias != nullptr && v < own_outs ? widen(static_cast<const T*>(p.bias)[at]) : 0.0f;
  }

  const int positions_per_block = kThreads / p.lanes;
  const int begin = static_cast<int>(int64_t{p.items} * block / p.blocks_per_tile);
  const int end = static_cast<int>(int64_t{p.items} * (block + 1) / p.blocks_per_tile);
#pragma unroll 1
  for (int item = begin; item < end; ++item) {
    Place place = find_place<I::kCells>(p, item, own_position, positions_per_block);
    if (!reduces) place.active = place.active && own_outs > 0;
    float sum[I::kSums] = {};
    if (place.active) {
      const int row = place.run - p.taps[1].first_shift[place.residue[1]];
      thread.input = static_cast<const char*>(p.input) + place.n * p.input_bytes[0] +
                     int64_t{group} * p.in_channels * p.input_bytes[1] + row * p.input_bytes[3] +
                     place.w * p.input_bytes[4];
      add_all<I>(p, thread, place, first_in, step_ins, sum);
    }
    store<I>(p, place, first_out + own_out, own_outs, lane, bias, sum);
  }
}

}  // namespace convt3d::cuda::few_channels
