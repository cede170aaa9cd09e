// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launch; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>

#include "cuda/common/alignment.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/group_gemm/call.h"
#include "cuda/group_gemm/kernel.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::group_gemm {

// 16 bits: whether two neighbours on w, from an even one on, are one aligned word, of any channel.
inline bool words_of_pairs(const Problem& problem, const TensorView& input) {
  bool words = problem.input[2] % 2 == 0 && input.stride[4] == 1 &&
               reinterpret_cast<uintptr_t>(input.data) % 4 == 0;
  const int64_t extents[4] = {problem.batch, problem.in_channels, problem.input[0],
                              problem.input[1]};
  for (int dim = 0; dim < 4; ++dim) {
    words = words && (extents[dim] == 1 || input.stride[dim] % 2 == 0);
  }
  return words;
}

inline Load choose_load(const Problem& problem, const Parts& parts, const TensorView& input,
                        int64_t element) {
  const int chunk = chunk_of(element);
  const bool chunks = problem.in_channels % chunk == 0 && parts.ins % chunk == 0;
  if (chunks && rows_aligned(input, problem.batch, problem.input, element)) return Load::rows;
  return element == 2 && words_of_pairs(problem, input) ? Load::pairs : Load::single;
}

inline GroupGemm describe(const Call& call) {
  const Problem& problem = call.description.problem;
  const Config& config = call.config;
  const Operands& operands = call.operands;
  const int64_t element = element_bytes(call.description.precision);
  const Extent3 output = problem.output();
  GroupGemm p{};
  static_cast<Axes&>(p) = make_axes(problem);
  p.input = operands.input.data;
  p.weight = operands.weight.data;
  p.bias = operands.bias;
  p.output = operands.output.data;
  p.bias_stride = operands.bias_stride;
  for (int dim = 0; dim < 5; ++dim) {
    p.input_bytes[dim] = operands.input.stride[dim] * element;
    p.weight_stride[dim] = operands.weight.stride[dim];
  }
  for (int axis = 0; axis < 3; ++axis) {
    p.first_cell[axis] = static_cast<int>(config.first_cell[axis]);
    p.reach[axis] = static_cast<int>(config.reach[axis]);
    p.tile[axis] = static_cast<int>(config.tile[axis]);
    p.halo[axis] = static_cast<int>(config.halo[axis]);
  }
  p.output_plane = output[1] * output[2];
  p.output_volume = volume(output);
  p.in_channels = static_cast<int>(problem.in_channels);
  p.out_channels = static_cast<int>(problem.out_channels);
  p.groups = static_cast<int>(problem.groups);
  p.group_ins = static_cast<int>(problem.in_channels_per_group());
  p.group_outs = static_cast<int>(problem.out_channels_per_group());
  p.part_groups = static_cast<int>(config.parts.groups);
  p.parts = static_cast<int>(config.parts.count);
  p.parts_of_group = static_cast<int>(config.parts.of_group);
  p.in_chunks = static_cast<int>(config.parts.in_chunks);
  p.plane = static_cast<int>(config.plane);
  p.block_parts = static_cast<int>(config.block_parts);
  p.part_tiles = static_cast<int>(config.part_tiles);
  p.boxes = static_cast<int>(problem.batch * volume(config.boxes));
  p.splits = static_cast<int>(config.splits);
  p.width_blocks = static_cast<int>(config.width_blocks);
  p.pairs = static_cast<int>(config.pairs);
  p.rows = static_cast<int>(config.tile[1] * config.tile[2]);
  p.row_units = static_cast<int>(ceil_div(p.rows, int64_t{kUnitRows}));
  p.units = p.width_blocks * p.stride[1] * p.block_parts;
  p.pitch = static_cast<int>(config.pitch);
  p.stage_chunks = static_cast<int>(config.stage_bytes / 16);
  p.spare_chunk = p.stage_chunks - 1;
  p.row_step = std::min(p.row_units, kWarps);
  p.unit_step = kWarps / p.row_step;
  p.by_row_step = make_divisor(p.row_step);
  const int64_t chunks[] = {p.block_parts * p.in_chunks * config.plane, p.stage_chunks,
                            config.block_parts * config.pairs * 16 * config.width,
                            p.row_units * kUnitRows / 2, p.block_parts * 2};
  int64_t end = 0;
  for (int i = 0; i < 5; ++i) p.region[i] = static_cast<int>(end += chunks[i]);
  p.first_w = p.first_cell[2] * p.stride[2] - p.padding[2];
  // From the even position at or before the first place to the last.
  const int64_t first_w = config.first_cell[2] - config.reach[2];
  const int64_t lead = first_w % 2 != 0 ? 1 : 0;
  p.pair_columns = static_cast<int>(ceil_div(config.halo[2] + lead, int64_t{2}));
  p.load = choose_load(problem, config.parts, operands.input, element);
  p.whole_rows =
      problem.out_channels % kColumns == 0 && config.parts.outs == kColumns && is_aligned(p.output);
  p.taps = list_taps(problem, config.parts.in_chunks);
  for (int axis = 0; axis < 2; ++axis) {
    p.by_boxes[axis] = make_divisor(config.boxes[axis]);
    p.by_halo[axis] = make_divisor(p.halo[axis]);
  }
  p.by_halo_w = make_divisor(p.halo[2]);
  p.by_pair_columns = make_divisor(p.pair_columns);
  p.by_chunks = make_divisor(p.block_parts * p.in_chunks);
  p.by_in_chunks = make_divisor(p.in_chunks);
  p.by_width_blocks = make_divisor(p.width_blocks);
  p.by_stride_d = make_divisor(p.stride[0]);
  p.by_stride_h = make_divisor(p.stride[1]);
  p.by_pairs = make_divisor(p.pairs);
  p.by_tile_w = make_divisor(p.tile[2]);
  p.by_group_ins = make_divisor(p.group_ins);
  p.by_group_outs = make_divisor(p.group_outs);
  for (int axis = 0; axis < 2; ++axis) {
    for (int residue = 0; residue < kMaxStride; ++residue) {
      p.by_taps[axis][residue] = make_divisor(std::max(1, p.taps.count[axis][residue]));
    }
  }
  return p;
}

template <Precision kPrecision, bool kPlanes, int kWidth>
void launch_kernel(const Call& call) {
  const auto kernel = group_gemm_kernel<kPrecision, kPlanes, kWidth>;
  const int shared = static_cast<int>(call.config.shared);
  allow_shared_memory(kernel, "group_gemm attribute");
  const auto blocks = static_cast<unsigned>(call.config.part_tiles * call.config.splits);
  kernel<<<blocks, kThreads, shared, call.stream>>>(describe(call));
  check(cudaGetLastError(), "group_gemm kernel");
}

template <Precision kPrecision>
void run(const Call& call) {
  const bool planes = call.description.output == Layout::ncdhw, two = call.config.width == 2;
  if (planes && two) return launch_kernel<kPrecision, true, 2>(call);
  if (planes) return launch_kernel<kPrecision, true, 1>(call);
  if (two) return launch_kernel<kPrecision, false, 2>(call);
  launch_kernel<kPrecision, false, 1>(call);
}

}  // namespace convt3d::cuda::group_gemm
