// SPDX-License-Identifier: BSD-3-Clause
// From a call to the launches of shift_kernel.cuh; instances/ has one explicit instantiation per
// precision.
#pragma once
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <stdexcept>

#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/line_weight/shift_kernel.cuh"
#include "cuda/line_weight/shift_reduce.cuh"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::line_weight {

inline ShiftParams make_shift_params(const ShiftCall& call) {
  const Problem& problem = call.description.problem;
  const ShiftConfig& c = call.config;
  const Extent3 output = problem.output();
  ShiftParams p{};
  p.weight = call.operands.weight.data;
  std::copy_n(call.operands.weight.stride.begin(), 5, p.weight_stride);
  p.partial = static_cast<float*>(call.workspace);
  p.in_channels = as_int(problem.in_channels);
  p.out_channels = as_int(problem.out_channels);
  for (size_t axis = 0; axis < 3; ++axis) {
    p.input_extent[axis] = as_int(problem.input[axis]);
    p.output_extent[axis] = as_int(output[axis]);
    p.padding[axis] = as_int(problem.padding[axis]);
  }
  p.line_tiles = as_int(c.line_tiles);
  p.width_tiles = as_int(c.width_tiles);
  p.boxes = as_int(c.boxes);
  for (size_t axis = 0; axis < 2; ++axis) p.stride[axis] = as_int(problem.stride[axis]);
  p.dilation_d = as_int(problem.dilation[0]);
  p.kernel_h = as_int(problem.kernel[1]);
  p.flat = c.flat;
  if (c.flat) {
    p.line_step = as_int(output[2] * element_bytes(call.description.precision));
    p.plane_bytes = as_int(output[1]) * p.line_step;
  }
  p.channels = c.channels;
  p.taps_d = c.taps_d;
  p.rows = c.rows;
  p.column_tiles = as_int(ceil_div(problem.in_channels, c.tile.columns));
  p.tap_tiles = as_int(problem.kernel[0] / c.taps_d);
  p.jobs = as_int(c.jobs);
  p.splits = as_int(c.splits);
  p.chain = c.chain;
  p.lines = c.lines;
  p.chunks = c.chunks;
  p.width = c.chunks * c.row_bytes / as_int(element_bytes(call.description.precision));
  p.row_bytes = c.row_bytes;
  p.run_bytes = c.run_bytes;
  p.line_bytes = c.line_bytes;
  p.output_lines = c.output_lines;
  p.input_bytes = c.input_bytes;
  p.stage_bytes = c.stage_bytes;
  p.stages = c.stages;
  return p;
}

// Boxes of [line of input][in_channel][positions].
inline CUtensorMap shift_input_map(const ShiftCall& call) {
  const Problem& p = call.description.problem;
  const ShiftConfig& c = call.config;
  const auto& s = call.operands.input.stride;
  return sm90::encode({call.operands.input.data,
                       call.description.precision,
                       {p.input[2], p.in_channels, p.input[1], p.input[0], p.batch},
                       {1, s[1], s[3], s[2], s[0]},
                       {c.row_bytes / as_int(element_bytes(call.description.precision)),
                        c.tile.columns, c.lines, 1, 1}});
}

// Boxes of [out_channel][a line's positions].
inline CUtensorMap shift_output_map(const ShiftCall& call) {
  const Problem& p = call.description.problem;
  const ShiftConfig& c = call.config;
  const Extent3 output = p.output();
  const auto& s = call.operands.output.stride;
  const int run = c.run_bytes / as_int(element_bytes(call.description.precision));
  sm90::TensorBox box{call.operands.output.data,
                      call.description.precision,
                      {output[2], output[1], output[0], p.out_channels, p.batch},
                      {1, s[3], s[2], s[1], s[0]},
                      {run, 1, 1, c.channels, 1},
                      {1, 1, 1, 1, 1},
                      false};
  if (c.flat) {
    box.extent = {volume(output), p.out_channels, p.batch, 1, 1};
    box.stride = {1, s[1], s[0], 0, 0};
    box.box = {run, c.channels, 1, 1, 1};
  }
  return sm90::encode(box);
}

using ShiftKernel = void (*)(ShiftParams, CUtensorMap, CUtensorMap);

template <typename T, size_t kIndex = 0>
ShiftKernel shift_kernel_of(const ShiftTile& tile, bool odd) {
  if constexpr (kIndex == std::size(kShiftTiles)) {
    throw std::logic_error("line_weight: no such kernel");
  } else {
    constexpr ShiftTile kTile = kShiftTiles[kIndex];
    if (tile.stride == kTile.stride && tile.taps == kTile.taps && tile.columns == kTile.columns) {
      // A word of float32 is an element; stride 2 has an even start alone.
      constexpr bool kOdd = kTile.stride == 1 && sizeof(T) == 2;
      return odd ? shift_kernel<T, kTile.stride, kTile.taps, kOdd, kTile.columns, kTile.units>
                 : shift_kernel<T, kTile.stride, kTile.taps, false, kTile.columns, kTile.units>;
    }
    return shift_kernel_of<T, kIndex + 1>(tile, odd);
  }
}

template <Precision kPrecision>
void run_shifts(const ShiftCall& call) {
  using T = ElementOf<kPrecision>;
  const ShiftParams p = make_shift_params(call);
  const CUtensorMap input_map = shift_input_map(call), output_map = shift_output_map(call);
  const ShiftTile& tile = call.config.tile;
  const ShiftKernel kernel = shift_kernel_of<T>(tile, call.config.odd);
  const int bytes = kShiftAlign + p.stages * p.stage_bytes + 16 * kShiftMaxStages;
  allow_shared_memory(kernel, "line_weight shared memory");
  const auto blocks = static_cast<unsigned>(p.jobs * p.splits);
  launch_grid("line_weight shift_kernel", kernel, {blocks, kThreads, bytes, call.stream}, p,
              input_map, output_map);
  int lanes = 1;
  while (2 * lanes <= std::min(p.splits, kShiftReduceWarps)) lanes *= 2;
  const int places = p.jobs * tile.units * tile.taps * tile.columns / 8 * kConsumerThreads / 32;
  sm90::launch_overlapping("line_weight shift_reduce_kernel", shift_reduce_kernel<T>,
                           {dim3(static_cast<unsigned>(places * lanes / kShiftReduceWarps)),
                            dim3(32 * kShiftReduceWarps), 0, call.stream},
                           p, tile, lanes);
}

}  // namespace convt3d::cuda::line_weight
