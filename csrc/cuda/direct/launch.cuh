// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launches; instances/ has one explicit instantiation per element type.
#pragma once
#include <algorithm>
#include <numeric>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/direct/call.h"
#include "cuda/direct/depthwise_kernel.cuh"
#include "cuda/direct/gather_kernel.cuh"
#include "cuda/direct/thread_sums.cuh"
#include "cuda/direct/tiled_kernel.cuh"
#include "cuda/direct/weight_kernels.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::direct {

inline unsigned grid_size(int64_t blocks) {
  return static_cast<unsigned>(std::min<int64_t>(blocks, INT32_MAX));
}

inline void copy3(const Extent3& from, int64_t to[3]) { std::copy(from.begin(), from.end(), to); }

inline WeightView weight_view(const Call& call) {
  const Problem& p = call.description.problem;
  WeightView view{};
  view.data = call.operands.weight.data;
  std::copy(call.operands.weight.stride.begin(), call.operands.weight.stride.end(), view.stride);
  copy3(p.kernel, view.kernel);
  view.groups = p.groups;
  view.in_channels = p.in_channels_per_group();
  view.out_channels = p.out_channels_per_group();
  return view;
}

// The source is `source`, read at the coordinates of the axes; the same for all directions.
inline void set_source(const TensorView& source, const Extent3& extent, int64_t group_channels,
                       GatherGemm* gemm) {
  gemm->source = source.data;
  for (int axis = 0; axis < 3; ++axis) gemm->source_stride[axis] = source.stride[2 + axis];
  copy3(extent, gemm->source_extent);
  gemm->source_group_stride = group_channels * source.stride[1];
}

// forward's tables lie behind the packed weight; grad_input has none.
inline ResidueTables residue_tables(const Call& call) {
  const Problem& p = call.description.problem;
  ResidueTables tables{};
  copy3(p.stride, tables.stride);
  copy3(p.padding, tables.padding);
  copy3(p.dilation, tables.dilation);
  copy3(p.kernel, tables.kernel);
  copy3(p.output(), tables.output);
  auto* next = reinterpret_cast<Residue*>(static_cast<char*>(call.workspace) +
                                          packed_bytes(call.description, call.config));
  for (int axis = 0; axis < 3; ++axis) {
    tables.tap_step[axis] = p.stride[axis] / std::gcd(p.stride[axis], p.dilation[axis]);
    if (call.description.direction != Direction::forward) continue;
    tables.table[axis] = next;
    next += p.stride[axis];
  }
  return tables;
}

// forward and grad_input: rows are positions of the result, pairs are taps x channels.
inline GatherGemm activation_gemm(const Call& call) {
  const Problem& p = call.description.problem;
  const bool forward = call.description.direction == Direction::forward;
  const TensorView& source = forward ? call.operands.input : call.operands.output;
  const TensorView& result = forward ? call.operands.output : call.operands.input;
  const int64_t depth = forward ? p.in_channels_per_group() : p.out_channels_per_group();
  const int64_t packed_row = p.groups * call.config.packed_n;

  GatherGemm gemm{};
  gemm.groups = p.groups;
  gemm.columns = forward ? p.out_channels_per_group() : p.in_channels_per_group();
  set_source(source, forward ? p.input : p.output(), depth, &gemm);
  gemm.b = call.workspace;
  gemm.b_column_stride = 1;
  gemm.b_group_stride = call.config.packed_n;
  gemm.c = result.data;
  gemm.c_column_stride = result.stride[1];
  gemm.c_group_stride = gemm.columns * result.stride[1];
  gemm.bias = call.operands.bias;
  gemm.bias_stride = call.operands.bias_stride;

  Side& rows = gemm.rows;
  Side& pairs = gemm.pairs;
  rows.first_axis = 1;
  rows.radix[0] = p.batch;
  rows.other_source_stride = source.stride[0];
  rows.far_stride[0] = result.stride[0];
  pairs.first_axis = 0;
  pairs.radix[3] = depth;
  pairs.other_source_stride = source.stride[1];
  pairs.far_stride[3] = packed_row;
  int64_t tap_stride = depth * packed_row;
  for (int axis = 2; axis >= 0; --axis) {
    rows.radix[1 + axis] = p.input[axis];  // grad_input; enter_residue() sets forward's
    rows.scale[axis] = p.stride[axis];
    rows.base[axis] = -p.padding[axis];
    rows.far_stride[1 + axis] = result.stride[2 + axis];
    pairs.radix[axis] = p.kernel[axis];
    pairs.scale[axis] = p.dilation[axis];
    pairs.far_stride[axis] = tap_stride;
    tap_stride *= p.kernel[axis];
  }
  gemm.has_residues = forward;
  copy3(forward ? p.stride : Extent3{1, 1, 1}, gemm.residues);
  copy3(p.stride, gemm.output_step);
  const ResidueTables tables = residue_tables(call);
  for (int axis = 0; axis < 3; ++axis) {
    gemm.residue_table[axis] = tables.table[axis];
    gemm.tap_step[axis] = tables.tap_step[axis];
    gemm.input_step[axis] = p.dilation[axis] * tables.tap_step[axis] / p.stride[axis];
  }
  gemm.splits = 1;
  return gemm;
}

// grad_weight: rows are taps x output channels, pairs are positions of the input.
inline GatherGemm weight_gemm(const Call& call) {
  const Problem& p = call.description.problem;
  const TensorView &source = call.operands.output, &input = call.operands.input;
  const int64_t out_channels = p.out_channels_per_group();

  GatherGemm gemm{};
  gemm.groups = p.groups;
  gemm.columns = p.in_channels_per_group();
  set_source(source, p.output(), out_channels, &gemm);
  gemm.b = input.data;
  gemm.b_column_stride = input.stride[1];
  gemm.b_group_stride = gemm.columns * input.stride[1];
  gemm.c = call.workspace;
  gemm.c_column_stride = 1;
  gemm.c_group_stride = volume(p.kernel) * out_channels * gemm.columns;
  gemm.c_split_stride = p.groups * gemm.c_group_stride;

  Side& rows = gemm.rows;
  Side& pairs = gemm.pairs;
  rows.first_axis = 0;
  rows.radix[3] = out_channels;
  rows.other_source_stride = source.stride[1];
  rows.far_stride[3] = gemm.columns;
  pairs.first_axis = 1;
  pairs.radix[0] = p.batch;
  pairs.other_source_stride = source.stride[0];
  pairs.far_stride[0] = input.stride[0];
  int64_t tap_stride = out_channels * gemm.columns;
  for (int axis = 2; axis >= 0; --axis) {
    rows.radix[axis] = p.kernel[axis];
    rows.scale[axis] = p.dilation[axis];
    rows.base[axis] = -p.padding[axis];
    rows.far_stride[axis] = tap_stride;
    tap_stride *= p.kernel[axis];
    pairs.radix[1 + axis] = p.input[axis];
    pairs.scale[axis] = p.stride[axis];
    pairs.far_stride[1 + axis] = input.stride[2 + axis];
  }
  copy3(Extent3{1, 1, 1}, gemm.residues);
  gemm.splits = call.config.splits;
  return gemm;
}

// Per axis, rows of the largest residue of forward, or of grad_input.
inline Extent3 row_extents(const Call& call) {
  const Problem& p = call.description.problem;
  if (call.description.direction == Direction::grad_input) return p.input;
  Extent3 extents = p.output();
  for (int axis = 0; axis < 3; ++axis) extents[axis] = ceil_div(extents[axis], p.stride[axis]);
  return extents;
}

inline void set_work(int64_t row_tiles, int64_t tile_n, GatherGemm* gemm) {
  gemm->row_tiles = row_tiles;
  gemm->column_tiles = ceil_div(gemm->columns, tile_n);
  gemm->group_tiles = ceil_div(gemm->groups, gemm->group_lanes);
  gemm->work = gemm->residues[0] * gemm->residues[1] * gemm->residues[2] * row_tiles *
               gemm->column_tiles * gemm->group_tiles * gemm->splits;
}

// Neighbouring threads on neighbouring groups, where that is how they lie in memory.
inline int group_lanes(const GatherGemm& gemm, bool channels_innermost) {
  int lanes = 1;
  while (channels_innermost && lanes < kMaxGroupLanes && 2 * lanes <= gemm.groups) lanes *= 2;
  return lanes;
}

template <typename T>
struct Launcher {
  using Sum = Accumulator<T>;
  static constexpr int kWeightThreads = 256;

  static void prepare(const Call& call) {
    const WeightView view = weight_view(call);
    const bool forward = call.description.direction == Direction::forward;
    const int64_t depth = forward ? view.in_channels : view.out_channels;
    const int64_t total =
        volume(call.description.problem.kernel) * depth * view.groups * call.config.packed_n;
    prepare_kernel<T>
        <<<grid_size(ceil_div(total, kWeightThreads)), kWeightThreads, 0, call.stream>>>(
            view, static_cast<Sum*>(call.workspace), forward, call.config.packed_n,
            residue_tables(call));
    check(cudaGetLastError(), "direct prepare_kernel");
  }

  static void reduce(const Call& call) {
    const WeightView view = weight_view(call);
    const int64_t total = volume(call.description.problem.kernel) * view.groups * view.in_channels *
                          view.out_channels;
    reduce_kernel<T>
        <<<grid_size(ceil_div(total, kWeightThreads)), kWeightThreads, 0, call.stream>>>(
            view, static_cast<const Sum*>(call.workspace), call.config.splits);
    check(cudaGetLastError(), "direct reduce_kernel");
  }

  template <typename B, typename C, bool kBOnPairs>
  static void tiled(const Call& call, const GatherGemm& gemm, bool source_on_pairs) {
    const auto kernel = call.config.tile_n == 32
                            ? (source_on_pairs ? tiled_kernel<T, B, C, 32, true, kBOnPairs>
                                               : tiled_kernel<T, B, C, 32, false, kBOnPairs>)
                            : (source_on_pairs ? tiled_kernel<T, B, C, 64, true, kBOnPairs>
                                               : tiled_kernel<T, B, C, 64, false, kBOnPairs>);
    kernel<<<grid_size(gemm.work), kTiledThreads, 0, call.stream>>>(gemm);
  }

  static void outputs(const Call& call) {
    const OutputsSum sum = outputs_sum(call);
    const auto blocks = static_cast<unsigned>(ceil_div(sum.threads, kOutputsThreads));
    outputs_kernel<T><<<blocks, kOutputsThreads, 0, call.stream>>>(sum);
    check(cudaGetLastError(), "direct outputs_kernel");
  }

  static void resident(const Call& call) {
    if constexpr (std::is_same_v<T, float>) {
      const ResidentSum sum = resident_sum(call);
      const Problem& p = call.description.problem;
      const auto bytes = static_cast<int>(ResidentSize(p).bytes(p, sum.lines));
      allow_shared_memory(resident_kernel<T>, "direct shared memory");
      const int64_t units =
          int64_t{sum.lines} * sum.kernel[2] * (sum.width / 4) * ceil_div(sum.rows, kResidentRows);
      const auto threads =
          static_cast<unsigned>(std::min<int64_t>(ceil_div(units, 32) * 32, kResidentThreads));
      const auto blocks = static_cast<unsigned>(p.out_channels * p.stride[0] * int64_t{sum.chunks});
      resident_kernel<T><<<blocks, threads, bytes, call.stream>>>(sum);
      check(cudaGetLastError(), "direct resident_kernel");
    }
  }

  static void activation(const Call& call) {
    prepare(call);
    GatherGemm gemm = activation_gemm(call);
    const bool channels_innermost = gemm.pairs.other_source_stride < gemm.source_stride[2];
    const int tile_n = call.config.tile_n;
    const Extent3 extents = row_extents(call);
    const int64_t rows = call.description.problem.batch * volume(extents);
    if (call.config.scheme == Scheme::tiled) {
      gemm.group_lanes = 1;
      set_work(ceil_div(rows, kTileM), tile_n, &gemm);
      tiled<Sum, T, false>(call, gemm, channels_innermost);
    } else {
      gemm.group_lanes = group_lanes(gemm, channels_innermost);
      const int64_t positions = kGatherThreads / gemm.group_lanes;
      const bool depthwise = tile_n == 1 && gemm.pairs.radix[3] == 1;
      if (depthwise) {
        // The run lies on the axis that it fills best.
        const auto padded = [&](int axis) {
          return static_cast<double>(ceil_div(extents[axis], kRun) * kRun) /
                 static_cast<double>(extents[axis]);
        };
        gemm.run_axis = padded(1) < padded(0) ? 1 : 0;
        const int64_t runs = rows / extents[gemm.run_axis] * ceil_div(extents[gemm.run_axis], kRun);
        set_work(ceil_div(runs, positions), tile_n, &gemm);
      } else {
        set_work(ceil_div(rows, kGatherRows * positions), tile_n, &gemm);
      }
      const auto kernel = call.config.wide ? gather_kernel<T, 4, int64_t>
                          : depthwise      ? depthwise_kernel<T>
                          : tile_n == 1    ? gather_kernel<T, 1, int>
                          : tile_n == 4    ? gather_kernel<T, 4, int>
                                           : gather_kernel<T, 8, int>;
      kernel<<<grid_size(gemm.work), kGatherThreads, 0, call.stream>>>(gemm);
    }
    check(cudaGetLastError(), "direct kernel");
  }

  static void taps(const Call& call) {
    TapsWeight sum = taps_weight(call);
    const Problem& p = call.description.problem;
    const bool single = call.config.tile_n == 1;
    const auto blocks_of = [&](int taps) {
      sum.tap_blocks = static_cast<int>(ceil_div(volume(p.kernel), taps));
      return p.out_channels * sum.in_tiles * sum.tap_blocks;
    };
    int64_t blocks = blocks_of(kTapsOfBlock);
    const bool few = single && blocks < call.device.num_sms;
    if (few) blocks = blocks_of(kFewTapsOfBlock);
    const auto kernel = few      ? taps_weight_kernel<T, 1, kFewTapsOfBlock>
                        : single ? taps_weight_kernel<T, 1, kTapsOfBlock>
                                 : taps_weight_kernel<T, kTapsIns, kTapsOfBlock>;
    const int bytes = single ? taps_shared_bytes<T, 1>(sum.positions)
                             : taps_shared_bytes<T, kTapsIns>(sum.positions);
    kernel<<<static_cast<unsigned>(blocks), kTapsThreads, bytes, call.stream>>>(sum);
    check(cudaGetLastError(), "direct taps_weight_kernel");
  }

  static void weight(const Call& call) {
    GatherGemm gemm = weight_gemm(call);
    const bool channels_innermost = gemm.rows.other_source_stride < gemm.source_stride[2];
    const int tile_n = call.config.tile_n;
    if (call.config.scheme == Scheme::tiled) {
      gemm.group_lanes = 1;
      const bool positions_innermost = gemm.pairs.far_stride[3] < gemm.b_column_stride;
      set_work(ceil_div(volume(call.description.problem.kernel) * gemm.rows.radix[3], kTileM),
               tile_n, &gemm);
      if (positions_innermost) {
        tiled<T, Sum, true>(call, gemm, !channels_innermost);
      } else {
        tiled<T, Sum, false>(call, gemm, !channels_innermost);
      }
    } else {
      gemm.group_lanes = group_lanes(gemm, channels_innermost);
      const int taps = tile_n == 1 ? kGatherTaps1 : kGatherTaps8;
      set_work(gemm.rows.radix[3] * ceil_div(volume(call.description.problem.kernel), taps), tile_n,
               &gemm);
      const auto kernel = call.config.wide ? gather_weight_kernel<T, kGatherTaps8, 8, int64_t>
                          : tile_n == 1    ? gather_weight_kernel<T, kGatherTaps1, 1, int>
                                           : gather_weight_kernel<T, kGatherTaps8, 8, int>;
      kernel<<<grid_size(gemm.work), kGatherThreads, 0, call.stream>>>(gemm);
    }
    check(cudaGetLastError(), "direct kernel");
    reduce(call);
  }

  static void run(const Call& call) {
    if (call.config.scheme == Scheme::taps) {
      taps(call);
    } else if (call.description.direction == Direction::grad_weight) {
      weight(call);
    } else if (call.config.scheme == Scheme::outputs) {
      outputs(call);
    } else if (call.config.scheme == Scheme::resident) {
      resident(call);
    } else {
      activation(call);
    }
  }
};

template <typename T>
void run(const Call& call) {
  Launcher<T>::run(call);
}

}  // namespace convt3d::cuda::direct
