// SPDX-License-Identifier: BSD-3-Clause
// Forward and grad_input with few channels per group, on the CUDA cores.
//
//   output[n, co, s*q + r - p] = bias[co] + sum over ci, j of
//                                input[n, ci, q - j] * weight[ci, co, s*j + r]        (per axis)
//   input[n, ci, i] = sum over co, t of output[n, co, s*i + d*t - p] * weight[ci, co, t]
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
// grad_input is the same with a cell for each element of the result, and no residues: a cell's row
// for tap t is s*q + d*t - p. Taps that are s apart read the rows of neighbouring cells, so they
// are taken together, one class of taps modulo s after the other. "in" and "out" channels are then
// those that are summed over, out_channels, and those of the result, in_channels.
//
// supports() guarantees: forward: stride on w 1 or 2, no dilation beside stride 2 there; 32-bit
// counts and coordinates, weights of a block within kMaxShared. Strides in memory are 64-bit.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/few_channels/config.h"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/store.cuh"
#include "cuda/few_channels/vector.cuh"

namespace convt3d::cuda::few_channels {

// How a cell finds its rows: forward's residues, or grad_input's taps.
enum class Rows { residues, taps };

constexpr int cells_for(Mapping mapping, int stride_w, int outs, int ins) {
  int cells = (outs <= 4 ? kMaxLongSums : kMaxSums) / (stride_w * outs);
  if (ins > 1 && cells > 4) cells = 4;
  // A reduction hands every thread its share of the sums.
  if (mapping == Mapping::reduction && cells * stride_w * outs < kReductionLanes) {
    cells = kReductionLanes / (stride_w * outs);
  }
  return cells > kMaxCells ? kMaxCells : cells;
}

template <typename Element, Mapping kMap, Rows kRowsOf, int kStrideWidth, int kTapsWidth,
          int kOutChannels, int kInChannels>
struct Instance {
  using T = Element;
  static constexpr Mapping kMapping = kMap;
  static constexpr bool kGather = kRowsOf == Rows::taps;
  static constexpr int kStrideW = kStrideWidth;
  static constexpr int kTapsW = kTapsWidth;  // 0: any number
  static constexpr int kOuts = kOutChannels;
  static constexpr int kIns = kInChannels;
  static constexpr int kCells = cells_for(kMap, kStrideWidth, kOutChannels, kInChannels);
  static constexpr bool kLong = kMap != Mapping::depthwise && kOuts <= 4;  // several chains
  // In channels that one out channel takes of those loaded at once.
  static constexpr int kInsPerOut = kMap == Mapping::depthwise ? kIns / kOuts : kIns;
  static constexpr int kSums = kCells * kStrideW * kOuts;
  // Inputs on w whose rows are loaded together, before the first product.
  static constexpr int kStepsW = kTapsW > 0 ? (kTapsW + kStrideW - 1) / kStrideW : kIns > 1 ? 1 : 2;
  static constexpr int kTogether = kIns > 1 ? 1 : kStepsW;
  static constexpr int kResident = kGather ? 3 : 2;  // blocks on an SM: registers
  // Inputs on w lie side by side: one address serves all steps.
  static constexpr bool kPacked = kMap == Mapping::planes && kTapsW > 0;
};

// What all lines of a thread share.
template <typename I>
struct Thread {
  const char* input;    // own batch item, group, and first input on w
  const float* weight;  // of the own channels, tap 0, first in channel
  int first_w, step_w;  // inputs on w: the first, and from one tap (of a residue) to the next
  int ins;              // in channels left from `input` on
  int outs_row;         // floats between the weights of neighbouring in channels
};

// Adds the taps (tap_outer, first_tap_run + j * step, all of w) of `kTapsRun` neighbouring j.
// `corner` and `first_row` are the lowest row that they read.
template <typename I, int kTapsRun>
__device__ __forceinline__ void add_lines(const FewChannels& p, const Thread<I>& thread,
                                          const char* corner, const float* weight, int first_row,
                                          int weight_step_run, int weight_step_w,
                                          float (&sum)[I::kSums]) {
  using T = typename I::T;
  constexpr int kRows = I::kCells + kTapsRun - 1;
  const int steps_w = I::kTapsW == 0 ? (p.kernel[2] + I::kStrideW - 1) / I::kStrideW : I::kStepsW;
  const int row_step = I::kGather ? p.scale[1] : 1;
#pragma unroll(I::kTapsW == 0 ? 1 : I::kStepsW)
  for (int base = 0; base < steps_w; base += I::kTogether) {
    constexpr int kSources = I::kPacked ? 1 : I::kTogether;
    const char* source[kSources];
    bool there[I::kTogether];
#pragma unroll
    for (int step = 0; step < I::kTogether; ++step) {
      const int shift = (base + step) * thread.step_w;
      there[step] = within(thread.first_w + shift, p.input_extent[2]) && base + step < steps_w;
      if (step >= kSources) continue;
      source[step] = corner + shift * p.input_bytes[4];
      keep_in_registers(source[step]);
    }
    Elements<T, I::kIns> x[kRows][I::kTogether];
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const bool row_there = within(first_row + row * row_step, p.input_extent[1]);
#pragma unroll
      for (int step = 0; step < I::kTogether; ++step) {
        constexpr int kNext = (I::kGather ? 1 : -1) * static_cast<int>(sizeof(T));
        const char* own = I::kPacked ? source[0] + step * kNext : source[step % kSources];
        x[row][step] = load_elements<I::kIns, T>(own, row_there && there[step], p.input_bytes[1],
                                                 thread.ins, p.long_loads);
      }
#pragma unroll
      for (int step = 0; step < kSources; ++step) source[step] += p.row_bytes;
    }
#pragma unroll
    for (int step = 0; step < I::kTogether; ++step) {
#pragma unroll
      for (int r = 0; r < I::kStrideW; ++r) {
        const int tap = (base + step) * I::kStrideW + r;
        if (tap >= (I::kTapsW == 0 ? p.kernel[2] : I::kTapsW)) continue;
#pragma unroll
        for (int j = 0; j < kTapsRun; ++j) {
          const float* factors = weight + j * weight_step_run + tap * weight_step_w;
#pragma unroll
          for (int i = 0; i < I::kInsPerOut; ++i) {
            float w[I::kOuts];
            load_weights<I::kOuts>(factors + i * thread.outs_row, w);
#pragma unroll
            for (int c = 0; c < I::kCells; ++c) {
              const int row = I::kGather ? c + j : c + kTapsRun - 1 - j;
              float* own = sum + (c * I::kStrideW + r) * I::kOuts;
#pragma unroll
              for (int v = 0; v < I::kOuts; ++v) {
                const int of = I::kMapping == Mapping::depthwise ? v * I::kInsPerOut + i : i;
                own[v] = fmaf(x[row][step].as_float(of), w[v], own[v]);
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
          p.weight)[group * p.weight_group + in * p.weight_stride[0] +
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
  const int step_tap_w = p.in_channels * p.tile_outs, step_run = p.kernel[2] * step_tap_w;
  const int step_j = run.tap_step * step_run;
  // The classes of taps on the run axis that this thread adds.
  const int first_class = I::kGather ? 0 : place.residue[1];
  const int end_class = I::kGather ? min(run.tap_step, p.kernel[1]) : first_class + 1;
  float chain_sum[I::kLong ? I::kSums : 1] = {};
  int chain = 0;
#pragma unroll 1
  for (int jo = 0; jo < outer.num_taps[place.residue[0]]; ++jo) {
    const int coordinate = place.outer * (I::kGather ? p.scale[0] : 1) -
                           outer.first_shift[place.residue[0]] - jo * outer.shift_step;
    if (!within(coordinate, p.input_extent[0])) continue;
    const int tap_outer = outer.first_tap[place.residue[0]] + jo * outer.tap_step;
#pragma unroll 1
    for (int in = first_in; in < thread.ins; in += step_ins) {
      Thread<I> part = thread;
      part.ins = thread.ins - in;
      const auto add = [&](auto& target) {
#pragma unroll 1
        for (int kind = first_class; kind < end_class; ++kind) {
          const int taps_run = run.num_taps[kind];
          const float* weight = thread.weight + in * p.tile_outs +
                                (tap_outer * p.kernel[1] + run.first_tap[kind]) * step_run;
          const int row = place.run * (I::kGather ? p.scale[1] : 1) - run.first_shift[kind];
          const char* corner = thread.input + in * p.input_bytes[1] +
                               coordinate * p.input_bytes[2] + row * p.input_bytes[3];
#pragma unroll 1
          for (int j = 0; j < taps_run;) {
            const int shift = j * run.shift_step, left = taps_run - j;
            const float* own = weight + j * step_j;
            // Forward's taps go down the rows: the last of those taken together reads the lowest.
            const auto take = [&]<int kTaps>() {
              const int lowest = I::kGather ? row + shift * p.scale[1] : row - shift - (kTaps - 1);
              add_lines<I, kTaps>(p, part, corner + (lowest - row) * p.input_bytes[3], own, lowest,
                                  step_j, step_tap_w, target);
              j += kTaps;
            };
            if (run.shift_step == 1 && left == 2) {
              take.template operator()<2>();
            } else if (I::kStrideW == 1 && run.shift_step == 1 && left >= 3) {
              take.template operator()<3>();
            } else {
              take.template operator()<1>();
            }
          }
          if constexpr (I::kLong) chain += taps_run * p.kernel[2] * I::kInsPerOut;
        }
      };
      if constexpr (I::kLong) {
        add(chain_sum);
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
__global__ __launch_bounds__(kThreads, I::kResident) void few_channels_kernel(
    const __grid_constant__ FewChannels p) {
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
  thread.step_w = I::kGather ? p.dilation_w : I::kStrideW == 1 ? -p.dilation_w : -1;
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
      thread.first_w = place.w * (I::kGather ? p.scale[2] : 1) - (I::kGather ? p.base_w : 0);
      thread.input = static_cast<const char*>(p.input) + place.n * p.input_bytes[0] +
                     int64_t{group} * p.in_channels * p.input_bytes[1] +
                     thread.first_w * p.input_bytes[4];
      add_all<I>(p, thread, place, first_in, step_ins, sum);
    }
    store<I>(p, place, first_out + own_out, own_outs, lane, bias, sum);
  }
}

}  // namespace convt3d::cuda::few_channels
