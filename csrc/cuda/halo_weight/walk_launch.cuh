// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <stdexcept>

#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/halo_weight/launch_reduce.cuh"
#include "cuda/halo_weight/prepare.h"
#include "cuda/halo_weight/turn.h"
#include "cuda/halo_weight/walk_call.h"
#include "cuda/halo_weight/walk_kernel.cuh"
#include "cuda/sm90/tensor_map.h"
#include "cuda/sm90/walk_map.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_weight {

inline WalkParams make_walk_params(const WalkCall& call, const WalkTaps& taps,
                                   const TensorView& weight) {
  const Problem& problem = call.description.problem;
  const WalkConfig& c = call.config;
  const int64_t parts = ceil_div(problem.out_channels, c.out_width);
  const int job_units = job_rows(c) / c.out_width;
  WalkParams p{};
  p.work = make_work(c, call.workspace, job_units, static_cast<int>(taps.taps.size()), parts);
  p.target = make_target(problem, weight);
  p.chain = c.chain;
  p.out_width = c.out_width;
  p.job_parts = job_units == 1 && c.blocks == p.work.jobs ? static_cast<int>(parts) : 1;
  // Limit: a lane of a warp for each.
  p.takes_turns = c.blocks > p.work.jobs && c.blocks <= 30 * p.work.jobs;
  for (size_t a = 0; a < 3; ++a) p.stride[a] = static_cast<int>(problem.stride[a]);
  for (size_t i = 0; i < taps.classes.size(); ++i) {
    const WalkClass& from = taps.classes[i];
    WalkParams::OfClass& to = p.of_class[i];
    for (size_t a = 0; a < 3; ++a) {
      to.extent[a] = make_divisor(from.extent[a]);
      to.first[a] = static_cast<int>(from.first[a]);
      to.corner[a] = static_cast<int>(from.corner[a]);
    }
    to.boxes = static_cast<int>(from.boxes(problem.batch));
  }
  for (size_t i = 0; i < taps.taps.size(); ++i) {
    const WalkTap& from = taps.taps[i];
    WalkParams::OfTap& to = p.tap[i];
    to.tap = static_cast<uint16_t>(from.tap);
    to.of_class = static_cast<uint8_t>(from.of_class);
    for (size_t a = 0; a < 3; ++a) to.shift[a] = static_cast<uint8_t>(from.shift[a]);
  }
  return p;
}

inline CUtensorMap walk_map(const WalkCall& call, const TensorView& view, int64_t channels,
                            const Extent3& extent, const Extent3& first, const Extent3& count,
                            const Extent3& step) {
  const auto& s = view.stride;
  return sm90::encode(
      sm90::Walk{view.data,
                 call.description.precision,
                 {channels, extent[2], extent[1], extent[0], call.description.problem.batch},
                 {1, s[4], s[3], s[2], s[0]},
                 {first[2], first[1], first[0]},
                 {count[2], count[1], count[0]},
                 {step[2], step[1], step[0]},
                 kWalkWidth,
                 kWalkPositions});
}

// Of channels: {positions, channels, n}.
inline CUtensorMap runs_map(const WalkCall& call) {
  const TensorView& view = call.operands.input;
  const Problem& p = call.description.problem;
  return sm90::encode(sm90::TensorBox{view.data,
                                      call.description.precision,
                                      {volume(p.input), p.in_channels, p.batch, 1, 1},
                                      {1, view.stride[1], view.stride[0], 0, 0},
                                      {kWalkPositions, kWalkWidth, 1, 1, 1}});
}

using WalkKernel = void (*)(WalkParams, WalkMaps);

template <typename T, bool kLines, size_t kIndex = 0>
WalkKernel walk_kernel_of(const WalkConfig& c, int* bytes) {
  if constexpr (kIndex == kWalks.size()) {
    throw std::logic_error("halo_weight: no such kernel");
  } else {
    constexpr Columns kColumns = kWalks[kIndex];
    if (c.channels == kColumns.channels && c.units == kColumns.units) {
      *bytes =
          walk_stages(c.channels, c.units) * walk_stage_bytes(c.channels, c.units) + kBarrierBytes;
      return walk_kernel<T, kColumns.channels, kColumns.units, kLines>;
    }
    return walk_kernel_of<T, kLines, kIndex + 1>(c, bytes);
  }
}

template <Precision kPrecision, bool kLines>
void run_walk(const WalkCall& call) {
  using T = ElementOf<kPrecision>;
  const Problem& problem = call.description.problem;
  const WalkConfig& c = call.config;
  WalkTaps taps;
  make_walk_taps(problem, c.skips, &taps);
  const Extent3 extent = problem.output();
  auto* const packed = static_cast<unsigned char*>(call.workspace) + pieces_bytes(c);
  const TensorView input = rows_of(problem.batch, call.operands.input, problem.input,
                                   problem.in_channels, c.packed_input, packed, false, call.stream);
  const TensorView output =
      rows_of(problem.batch, call.operands.output, extent, problem.out_channels, c.packed_output,
              packed + packed_input_bytes(call.description, c), c.packed_input, call.stream);
  const TensorView weight =
      c.turned ? turned_rows(call.description, packed + packed_input_bytes(call.description, c) +
                                                   packed_output_bytes(call.description, c))
               : call.operands.weight;
  const WalkParams p = make_walk_params(call, taps, weight);
  WalkMaps maps;
  for (size_t i = 0; i < taps.classes.size(); ++i) {
    const WalkClass& positions = taps.classes[i];
    maps.input[i] = kLines ? runs_map(call)
                           : walk_map(call, input, problem.in_channels, problem.input,
                                      positions.first, positions.extent, {1, 1, 1});
    maps.output[i] = walk_map(call, output, problem.out_channels, extent, positions.corner,
                              positions.extent, problem.stride);
  }
  int bytes = 0;
  const WalkKernel kernel = walk_kernel_of<T, kLines>(c, &bytes);
  allow_shared_memory(kernel, "halo_weight shared memory");
  const bool second = c.packed_input || c.packed_output;
  launch_grid("halo_weight walk_kernel", kernel,
              {static_cast<unsigned>(c.blocks), kWalkThreads, bytes, call.stream, second}, p, maps);
  if (c.turned) {
    turn_weight(call.description, weight.data, call.operands.weight, call.stream);
  } else if (!c.direct) {
    Taps lanes;
    for (const WalkTap& tap : taps.taps) lanes.lanes.push_back({tap.tap, 0, {}});
    reduce<T>({problem, call.operands.weight, c.channels, c.out_width, call.stream, {}}, lanes,
              p.work);
  }
}

}  // namespace convt3d::cuda::halo_weight
