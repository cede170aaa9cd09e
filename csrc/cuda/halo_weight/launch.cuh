// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>
#include <stdexcept>

#include "cuda/common/dynamic_shared.h"
#include "cuda/common/element.cuh"
#include "cuda/common/launch.h"
#include "cuda/halo_weight/call.h"
#include "cuda/halo_weight/kernel.cuh"
#include "cuda/halo_weight/launch_reduce.cuh"
#include "cuda/halo_weight/prepare.h"
#include "cuda/halo_weight/taps.h"
#include "cuda/halo_weight/turn.h"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_weight {

// How the steps of a box lie in the rows of input and grad_output.
inline void set_loops(const Config& c, Params* p) {
  const int out_h = c.box[3] + c.halo[2], out_d = out_h * (c.box[2] + c.halo[1]);
  const int out_n = out_d * (c.box[1] + c.halo[0]);
  const int output[4] = {out_n, out_d, out_h, 1};
  // In units of 16 bytes.
  const int in_row = c.in_width * kElementBytes / 16, out_row = c.out_width * kElementBytes / 16;
  const int in_step = c.lines ? kDepth * kElementBytes / 16 : kDepth * in_row;
  int input = c.lines ? c.channels * in_row : c.input_box[3] * in_row;  // of a line
  int run = c.input_box[3];
  for (int i = 2; i >= 0; --i) {
    if (3 - i <= c.flat) {
      run *= c.input_box[i];
      p->loops[i] = {1, 0, 0};
    } else {
      p->loops[i] = {c.input_box[i], input, output[i] * out_row};
    }
    input *= c.input_box[i];
  }
  p->loops[3] = {static_cast<int>(ceil_div(run, kDepth)), in_step, kDepth * out_row};
  // The innermost loop is the cheapest.
  std::stable_partition(p->loops, p->loops + 4, [](const Loop& loop) { return loop.count == 1; });
}

// No more than a block has boxes, so that blocks of the reduction find room beside it.
inline int stages_used(const Config& c, const Work& work) {
  if (c.direct) return c.stages;
  const int boxes = work.share + (work.longer > 0 ? 1 : 0);
  return std::min(c.stages, std::max(boxes, kMinStages));
}

// Where a block stores its sums itself, it turns them around in all that there is.
inline int shared_bytes(const Config& c, const Params& p) {
  return c.direct ? kSharedBytes : kSwizzleAlign + p.stages * p.stage_bytes + kBarrierBytes;
}

inline Params make_params(const Call& call, const Taps& taps, const TensorView& weight) {
  const Problem& problem = call.description.problem;
  const Config& c = call.config;
  Params p{};
  p.work = make_work(c, call.workspace, c.units * c.warpgroups, taps.units,
                     ceil_div(problem.out_channels, c.out_width));
  p.warpgroups = c.warpgroups;
  p.lanes = kGroupRows / c.out_width;
  p.stages = stages_used(c, p.work);
  p.stage_bytes = c.stage_bytes;
  p.chain = c.chain;
  p.in_width = c.in_width;
  p.in_parts = c.in_parts;
  p.out_width = c.out_width;
  p.part_bytes = c.input_rows * c.in_width * kElementBytes;
  p.view_bytes = c.view_rows * c.out_width * kElementBytes;
  p.part_loaded = (c.lines ? c.channels : c.in_width) * kElementBytes;
  p.view_loaded = c.out_width * kElementBytes * c.box[0];
  for (int i = 0; i < 4; ++i) p.part_loaded *= c.input_box[i];
  for (int a = 0; a < 3; ++a) p.view_loaded *= c.box[1 + a] + c.halo[a];
  p.views_at = c.in_parts * p.part_bytes;
  p.tail_views = c.max_views;
  set_loops(c, &p);
  for (int i = 0; i < 4; ++i) {
    p.box[i] = c.box[i];
    p.tiles[i] = static_cast<int>(c.tiles[i]);
  }
  for (int a = 0; a < 3; ++a) p.stride[a] = static_cast<int>(problem.stride[a]);
  for (size_t i = 0; i < taps.views.size(); ++i) {
    for (int a = 0; a < 3; ++a) p.view_start[i][a] = static_cast<int16_t>(taps.views[i][a]);
  }
  const int pitch_h = c.box[3] + c.halo[2], pitch_d = pitch_h * (c.box[2] + c.halo[1]);
  for (size_t i = 0; i < taps.lanes.size(); ++i) {
    const Lane& lane = taps.lanes[i];
    const int row = lane.shift[0] * pitch_d + lane.shift[1] * pitch_h + lane.shift[2];
    p.lane[i] = {lane.tap < 0 ? kNoView : static_cast<uint16_t>(lane.view),
                 static_cast<uint16_t>(row)};
    p.tap[i] = static_cast<uint16_t>(std::max(lane.tap, 0));
  }
  p.target = make_target(problem, weight);
  return p;
}

inline CUtensorMap make_map(const Call& call, const TensorView& view, int64_t channels,
                            const Extent3& extent, int width, const std::array<int, 4>& box,
                            const Extent3& step) {
  const auto& s = view.stride;
  return sm90::encode(
      {view.data,
       call.description.precision,
       {channels, extent[2], extent[1], extent[0], call.description.problem.batch},
       {1, s[4], s[3], s[2], s[0]},
       {width, box[3], box[2], box[1], box[0]},
       {1, static_cast<int>(step[2]), static_cast<int>(step[1]), static_cast<int>(step[0]), 1}});
}

// Of lines: {w, channels, h, d, n}.
inline CUtensorMap make_lines_map(const Call& call) {
  const TensorView& view = call.operands.input;
  const auto& s = view.stride;
  const Problem& p = call.description.problem;
  const Config& c = call.config;
  return sm90::encode({view.data,
                       call.description.precision,
                       {p.input[2], p.in_channels, p.input[1], p.input[0], p.batch},
                       {1, s[1], s[3], s[2], s[0]},
                       {c.in_width, c.channels, c.box[2], c.box[1], c.box[0]}});
}

using Kernel = void (*)(Params, CUtensorMap, CUtensorMap);

template <typename T, bool kLines, size_t kIndex = 0>
Kernel kernel_of(const Config& c) {
  if constexpr (kIndex == kBuilt.size()) {
    throw std::logic_error("halo_weight: no such kernel");
  } else {
    constexpr Columns kColumns = kBuilt[kIndex];
    if constexpr (!kLines || columns_of_lines(kColumns)) {
      if (c.channels == kColumns.channels && c.units == kColumns.units) {
        return halo_weight_kernel<T, kColumns.channels, kColumns.units, kLines>;
      }
    }
    return kernel_of<T, kLines, kIndex + 1>(c);
  }
}

template <Precision kPrecision, bool kLines>
void run(const Call& call) {
  using T = ElementOf<kPrecision>;
  const Problem& problem = call.description.problem;
  const Config& c = call.config;
  const Taps taps = make_taps(problem, c.shares, kGroupRows / c.out_width);
  unsigned char* packed = static_cast<unsigned char*>(call.workspace) + pieces_bytes(c);
  const TensorView weight =
      c.turned ? turned_rows(call.description, packed + packed_input_bytes(call.description, c) +
                                                   packed_output_bytes(call.description, c))
               : call.operands.weight;
  const Params p = make_params(call, taps, weight);
  const TensorView input = rows_of(problem.batch, call.operands.input, problem.input,
                                   problem.in_channels, c.packed_input, packed, false, call.stream);
  const TensorView output = rows_of(
      problem.batch, call.operands.output, problem.output(), problem.out_channels, c.packed_output,
      packed + packed_input_bytes(call.description, c), c.packed_input, call.stream);
  std::array<int, 4> view_box = c.box;
  for (int a = 0; a < 3; ++a) view_box[1 + a] += c.halo[a];
  const CUtensorMap input_map = kLines ? make_lines_map(call)
                                       : make_map(call, input, problem.in_channels, problem.input,
                                                  c.in_width, c.input_box, {1, 1, 1});
  const CUtensorMap output_map = make_map(call, output, problem.out_channels, problem.output(),
                                          c.out_width, view_box, problem.stride);
  const Kernel kernel = kernel_of<T, kLines>(c);
  const int bytes = shared_bytes(c, p);
  allow_shared_memory(kernel, "halo_weight shared memory");
  const bool second =
      c.packed_input || c.packed_output;  // the first overlaps with nothing before it
  launch_grid("halo_weight kernel", kernel,
              {static_cast<unsigned>(c.blocks), static_cast<unsigned>((c.warpgroups + 1) * 128),
               bytes, call.stream, second},
              p, input_map, output_map);
  if (c.turned) {
    turn_weight(call.description, weight.data, call.operands.weight, call.stream);
  } else if (!c.direct) {
    reduce<T>({problem, call.operands.weight, c.channels, c.out_width, call.stream, c.line}, taps,
              p.work);
  }
}

}  // namespace convt3d::cuda::halo_weight
