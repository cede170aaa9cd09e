// SPDX-License-Identifier: BSD-3-Clause
// grad_weight with few channels per group, on the CUDA cores.
//
//   weight[ci, co, t] = sum over n, i of input[n, ci, i] * output[n, co, s*i + d*t - p]
//
// A thread keeps the sums of kIns x kOuts pairs of channels, of one tap on the outer axis, of one
// or two taps on the run axis that are s apart (they read the rows of neighbouring cells), and of
// kTapsW neighbouring taps on w. It walks over positions, a run of kCells of them at a time:
//
//      w ->   i            grad_output, every s-th row:
//    run  +---+
//     |   | u0|            x0 x0 x0     u0 meets x0 for the first tap, x1 for the second;
//     v   | u1|            x1 x1 x1     u1 meets x1 and x2; every value is loaded once
//         | u2|            x2 x2 x2
//         +---+            (kTapsW)
//
// planes: a warp's threads are neighbours on w, its warps have taps or channels of their own.
// channels, depthwise: neighbouring threads are neighbouring blocks of channels.
// A block ends with a sum over its threads at other positions, and writes its part to the
// workspace; a second kernel adds the parts of all splits in their order. One split is the result.
//
// supports() guarantees: 32-bit counts and coordinates, at most kMaxTapsRun taps on the run axis.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/few_channels/config.h"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/vector.cuh"

namespace convt3d::cuda::few_channels {

// Axes are {outer, run, w}, as in FewChannels.
struct WeightSums {
  const void* input;
  const void* output;  // grad_output
  void* result;        // where there is one split
  float* parts;        // [split][in_channels][out_channels / groups][outer][run][w]
  int64_t result_stride[5];
  int64_t input_bytes[5], output_bytes[5];
  int64_t row_bytes;  // between the rows of grad_output that neighbouring cells read
  int64_t weights;    // of the whole call
  int input_extent[3], output_extent[3], kernel[3], scale[3], padding[3], dilation[3];
  int groups, ins, outs;  // channels of a group
  int pairs;              // of blocks of channels, in all groups
  int tap_step;           // of the two taps of a thread
  int tap_jobs, lanes;    // lanes: pairs side by side in a block (channels, depthwise)
  int positions;          // runs, in all
  int steps, splits;      // steps: of all position lanes of a block over the positions
  Divisor by_run_jobs, by_w_jobs, by_tap_jobs, by_out_blocks, by_in_blocks, by_lanes;
  Divisor by_positions[3];
  bool long_inputs, long_outputs;
  unsigned char first_tap[kMaxTapsRun], num_taps[kMaxTapsRun];  // of each job on the run axis
};

template <typename Element, Mapping kMap, int kTapsWidth, int kInChannels, int kOutChannels>
struct WeightInstance {
  using T = Element;
  static constexpr Mapping kMapping = kMap;
  static constexpr bool kDepthwise = kMap == Mapping::depthwise;
  static constexpr int kTapsW = kTapsWidth;
  static constexpr int kIns = kInChannels;
  static constexpr int kOuts = kOutChannels;
  static constexpr int kPairs = kDepthwise ? kIns : kIns * kOuts;
  static constexpr int kCells = kIns <= 2 && kOuts == 1 ? kMaxWeightCells : kMaxWeightCells / 2;
  static constexpr int kTapsRun = 2;
  static constexpr int kSums = kTapsRun * kTapsW * kPairs;  // [tap run][tap w][in][out]
  static constexpr int kTogether = kOuts == 1 ? kTapsW : 1;
  static constexpr bool kPacked = kMap == Mapping::planes;
  static constexpr int kResident = kSums < 64 ? 3 : 2;  // blocks on an SM: registers
};

// What a thread sums.
struct WeightJob {
  int tap[3], taps_run;  // first taps
  int group, in, out;    // first channels, within the group
  bool own;
};

template <typename I>
__device__ __forceinline__ WeightJob find_job(const WeightSums& p, int block, int lane) {
  int index = block, pair = lane;
  if constexpr (I::kMapping == Mapping::planes) {
    index = block * (kThreads / kPlaneLanes) + lane;
  }
  const int taps = divide(&index, p.by_tap_jobs);
  if constexpr (I::kMapping == Mapping::planes) {
    pair = index;
  } else {
    pair = index * p.lanes + lane;
  }
  WeightJob job;
  job.own = pair < p.pairs;
  int rest = taps;
  const int run_job = divide(&rest, p.by_run_jobs);
  job.tap[2] = divide(&rest, p.by_w_jobs) * I::kTapsW;
  job.tap[0] = rest;
  job.tap[1] = p.first_tap[run_job];
  job.taps_run = p.num_taps[run_job];
  if constexpr (I::kDepthwise) {
    job.group = pair * I::kIns;  // of kIns groups
    job.in = job.out = 0;
  } else {
    job.out = divide(&pair, p.by_out_blocks) * I::kOuts;
    job.in = divide(&pair, p.by_in_blocks) * I::kIns;
    job.group = pair;
  }
  return job;
}

// Adds kCellsNow cells and kTaps taps. `input` and `output`: this position, first row and tap.
template <typename I, int kCellsNow, int kTaps>
__device__ __forceinline__ void add_cells(const WeightSums& p, const WeightJob& job, int ins,
                                          int outs, const char* input, const char* output,
                                          int first_row, int first_w, float (&sum)[I::kSums]) {
  using T = typename I::T;
  constexpr int kRows = kCellsNow + kTaps - 1;
  // Channels of planes, each in a register of its own: two 16-bit loads into one are waited for.
  constexpr int kAtOnce = I::kPacked ? 1 : I::kIns;
  Elements<T, kAtOnce> loaded[kCellsNow][I::kIns / kAtOnce];
#pragma unroll
  for (int c = 0; c < kCellsNow; ++c) {
#pragma unroll
    for (int i = 0; i < I::kIns; i += kAtOnce) {
      loaded[c][i / kAtOnce] =
          load_elements<kAtOnce, T>(input + c * p.input_bytes[3] + i * p.input_bytes[1],
                                    kAtOnce > 1 || i < ins, p.input_bytes[1], ins, p.long_inputs);
    }
  }
  float u[kCellsNow][I::kIns];
#pragma unroll
  for (int c = 0; c < kCellsNow; ++c) {
#pragma unroll
    for (int i = 0; i < I::kIns; ++i) u[c][i] = loaded[c][i / kAtOnce].as_float(i % kAtOnce);
  }
#pragma unroll
  for (int base = 0; base < I::kTapsW; base += I::kTogether) {
    constexpr int kSources = I::kPacked ? 1 : I::kTogether;
    const char* source[kSources];
    bool there[I::kTogether];
#pragma unroll
    for (int t = 0; t < I::kTogether; ++t) {
      const int shift = (base + t) * p.dilation[2];
      there[t] = within(first_w + shift, p.output_extent[2]) && job.tap[2] + base + t < p.kernel[2];
      if (t >= kSources) continue;
      source[t] = output + shift * p.output_bytes[4];
      keep_in_registers(source[t]);
    }
    Elements<T, I::kOuts> x[kRows][I::kTogether];
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const bool row_there = within(first_row + row * p.scale[1], p.output_extent[1]);
#pragma unroll
      for (int t = 0; t < I::kTogether; ++t) {
        const char* own = I::kPacked ? source[0] + t * sizeof(T) : source[t % kSources];
        x[row][t] = load_elements<I::kOuts, T>(own, row_there && there[t], p.output_bytes[1], outs,
                                               p.long_outputs);
      }
#pragma unroll
      for (int t = 0; t < kSources; ++t) source[t] += p.row_bytes;
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
#pragma unroll
      for (int t = 0; t < I::kTogether; ++t) {
#pragma unroll
        for (int v = 0; v < I::kOuts; ++v) {
          const float value = x[row][t].as_float(v);
#pragma unroll
          for (int j = 0; j < kTaps; ++j) {
            const int c = row - j;
            if (c < 0 || c >= kCellsNow) continue;
            float* own = sum + (j * I::kTapsW + base + t) * I::kPairs;
            if constexpr (I::kDepthwise) {
              own[v] = fmaf(u[c][v], value, own[v]);
            } else {
#pragma unroll
              for (int i = 0; i < I::kIns; ++i) {
                own[i * I::kOuts + v] = fmaf(u[c][i], value, own[i * I::kOuts + v]);
              }
            }
          }
        }
      }
    }
  }
}

// All positions of a thread. A cell beyond the last must not meet a row that others read, which may
// hold an infinity: short runs are taken cell by cell.
template <typename I, int kTaps>
__device__ __forceinline__ void add_positions(const WeightSums& p, const WeightJob& job, int begin,
                                              int end, int position_lane, int position_lanes,
                                              float (&sum)[I::kSums]) {
  const int first_in = I::kDepthwise ? job.group : job.group * p.ins + job.in;
  const int first_out = I::kDepthwise ? job.group : job.group * p.outs + job.out;
  const int ins = I::kDepthwise ? p.groups - job.group : p.ins - job.in;
  const int outs = I::kDepthwise ? ins : p.outs - job.out;
  const char* const input = static_cast<const char*>(p.input) + first_in * p.input_bytes[1];
  const char* const output = static_cast<const char*>(p.output) + first_out * p.output_bytes[1];
#pragma unroll 1
  for (int step = begin; step < end; ++step) {
    int position = step * position_lanes + position_lane;
    if (position >= p.positions) break;
    const int w = divide(&position, p.by_positions[2]);
    const int run = divide(&position, p.by_positions[1]) * I::kCells;
    const int outer = divide(&position, p.by_positions[0]);
    const int n = position;
    const int output_outer = outer * p.scale[0] + job.tap[0] * p.dilation[0] - p.padding[0];
    if (!within(output_outer, p.output_extent[0])) continue;
    const int row = run * p.scale[1] + job.tap[1] * p.dilation[1] - p.padding[1];
    const int first_w = w * p.scale[2] + job.tap[2] * p.dilation[2] - p.padding[2];
    const char* own_input = input + n * p.input_bytes[0] + outer * p.input_bytes[2] +
                            run * p.input_bytes[3] + w * p.input_bytes[4];
    const char* own_output = output + n * p.output_bytes[0] + output_outer * p.output_bytes[2] +
                             row * p.output_bytes[3] + first_w * p.output_bytes[4];
    const int cells = p.input_extent[1] - run;
    if (cells >= I::kCells) {
      add_cells<I, I::kCells, kTaps>(p, job, ins, outs, own_input, own_output, row, first_w, sum);
      continue;
    }
#pragma unroll 1
    for (int c = 0; c < cells; ++c) {
      add_cells<I, 1, kTaps>(p, job, ins, outs, own_input + c * p.input_bytes[3],
                             own_output + c * p.row_bytes, row + c * p.scale[1], first_w, sum);
    }
  }
}

// The sum over a block's positions, in their order, to the workspace or to the result.
template <typename I>
__device__ __forceinline__ void write_part(const WeightSums& p, int block, float* part,
                                           const float (&sum)[I::kSums]) {
  constexpr bool kPlanes = I::kMapping == Mapping::planes;
  __shared__ float exchange[kSumsPerRound][kThreads];
  const int lanes = kPlanes ? kThreads / kPlaneLanes : p.lanes;
  const int position_lanes = kThreads / lanes;
#pragma unroll 1
  for (int base = 0; base < I::kSums; base += kSumsPerRound) {
    __syncthreads();  // the previous round is read
#pragma unroll
    for (int s = 0; s < I::kSums; ++s) {
      if (s / kSumsPerRound * kSumsPerRound == base)
        exchange[s % kSumsPerRound][threadIdx.x] = sum[s];
    }
    __syncthreads();  // this round is there
#pragma unroll 1
    for (int at = threadIdx.x; at < kSumsPerRound * lanes; at += kThreads) {
      int index = at;
      const int lane = kPlanes ? index % lanes : divide(&index, p.by_lanes);
      if (kPlanes) index /= lanes;
      const int s = base + index;
      if (s >= I::kSums) continue;
      double total = 0;
#pragma unroll 4
      for (int k = 0; k < position_lanes; ++k) {
        // planes: a start of its own for each thread, so that they read different banks
        const int thread = kPlanes ? lane * kPlaneLanes + (k + at) % kPlaneLanes : k * lanes + lane;
        total += exchange[index][thread];
      }
      const WeightJob job = find_job<I>(p, block, lane);
      const int pair = s % I::kPairs, tap_w = job.tap[2] + s / I::kPairs % I::kTapsW;
      const int j = s / (I::kPairs * I::kTapsW);
      const int group = job.group + (I::kDepthwise ? pair : 0);
      const int in = job.in + (I::kDepthwise ? 0 : pair / I::kOuts);
      const int out = job.out + (I::kDepthwise ? 0 : pair % I::kOuts);
      const bool there = job.own && j < job.taps_run && tap_w < p.kernel[2] && in < p.ins &&
                         out < p.outs && (!I::kDepthwise || group < p.groups);
      if (!there) continue;
      const int tap_run = job.tap[1] + j * p.tap_step;
      if (p.splits == 1) {
        static_cast<typename I::T*>(
            p.result)[(int64_t{group} * p.ins + in) * p.result_stride[0] +
                      out * p.result_stride[1] + job.tap[0] * p.result_stride[2] +
                      tap_run * p.result_stride[3] + tap_w * p.result_stride[4]] =
            narrow<typename I::T>(static_cast<float>(total));
        continue;
      }
      const int64_t channels = (int64_t{group} * p.ins + in) * p.outs + out;
      part[((channels * p.kernel[0] + job.tap[0]) * p.kernel[1] + tap_run) * p.kernel[2] + tap_w] =
          static_cast<float>(total);
    }
  }
}

template <typename I>
__global__ __launch_bounds__(kThreads, I::kResident) void weight_sums_kernel(
    const __grid_constant__ WeightSums p) {
  const int block = blockIdx.x / p.splits, split = blockIdx.x % p.splits;
  constexpr bool kPlanes = I::kMapping == Mapping::planes;
  const int lanes = kPlanes ? kThreads / kPlaneLanes : p.lanes;
  const int position_lanes = kThreads / lanes;
  const int lane = kPlanes ? threadIdx.x / kPlaneLanes : threadIdx.x % lanes;
  const int position_lane = kPlanes ? threadIdx.x % kPlaneLanes : threadIdx.x / lanes;
  const WeightJob job = find_job<I>(p, block, lane);
  const int begin = static_cast<int>(int64_t{p.steps} * split / p.splits);
  const int end = static_cast<int>(int64_t{p.steps} * (split + 1) / p.splits);
  float sum[I::kSums] = {};
  if (job.own && position_lane < position_lanes) {
    if (job.taps_run == 2) {
      add_positions<I, 2>(p, job, begin, end, position_lane, position_lanes, sum);
    } else {
      add_positions<I, 1>(p, job, begin, end, position_lane, position_lanes, sum);
    }
  }
  write_part<I>(p, block, p.parts + split * p.weights, sum);
}

}  // namespace convt3d::cuda::few_channels
