// SPDX-License-Identifier: BSD-3-Clause
// From a call to the launches of gather_kernel.cuh; instances/ has one explicit instantiation per
// precision.
#pragma once
#include <algorithm>

#include "cuda/common/alignment.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/line_weight/gather_config.h"
#include "cuda/line_weight/gather_kernel.cuh"
#include "cuda/line_weight/gather_reduce.cuh"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::line_weight {

inline int element_bytes_of(const GatherCall& call) {
  return static_cast<int>(element_bytes(call.description.precision));
}

// boxes: of lines that begin anywhere.
inline GatherParams make_gather_params(const GatherCall& call, bool boxes) {
  const Problem& problem = call.description.problem;
  const GatherConfig& c = call.config;
  const Extent3 output = problem.output();
  GatherParams p{};
  p.output = static_cast<const unsigned char*>(call.operands.output.data);
  std::copy_n(call.operands.output.stride.begin(), 4, p.output_stride);
  p.weight = call.operands.weight.data;
  std::copy_n(call.operands.weight.stride.begin(), 5, p.weight_stride);
  p.partial = static_cast<float*>(call.workspace);
  p.in_channels = static_cast<int>(problem.in_channels);
  p.out_channels = static_cast<int>(problem.out_channels);
  for (size_t axis = 0; axis < 3; ++axis) {
    p.output_extent[axis] = static_cast<int>(output[axis]);
    p.padding[axis] = static_cast<int>(problem.padding[axis]);
  }
  p.planes = static_cast<int>(problem.input[0]);
  p.width = static_cast<int>(problem.input[2]);
  p.stride_d = static_cast<int>(problem.stride[0]);
  p.channels = c.channels;
  p.taps_d = c.taps_d;
  p.rows = c.rows;
  p.columns = c.columns;
  p.shares = c.shares;
  p.column_tiles = static_cast<int>(ceil_div(problem.in_channels, c.columns));
  p.tap_tiles = static_cast<int>(problem.kernel[0] / c.taps_d);
  p.jobs = static_cast<int>(c.jobs);
  p.splits = static_cast<int>(c.splits);
  p.chain = c.chain;
  p.lines = c.lines;
  p.depths = c.depths;
  p.chunks = c.chunks;
  p.line_steps = c.line_steps;
  p.units = static_cast<int>(c.units);
  p.line_bytes = c.line_bytes;
  p.pair_bytes = c.pair_bytes;
  p.box_rows = boxes ? c.box_rows : 0;
  if (p.box_rows > 0) {
    p.pitch = c.pair_bytes / (c.rows / c.box_rows);
    p.second_line = p.pitch / 2;
    p.box_groups = static_cast<int>(problem.batch * problem.out_channels /
                                    gather_group(element_bytes_of(call)));
  } else {
    p.pitch = 2 * c.line_bytes;
    p.second_line = c.line_bytes;
  }
  p.stages = c.stages;
  p.stage_bytes = c.stage_bytes;
  p.input_bytes = c.input_bytes;
  return p;
}

// Boxes of [line of input][in_channel][positions of an instruction].
inline CUtensorMap gather_input_map(const GatherCall& call) {
  const Problem& p = call.description.problem;
  const auto& s = call.operands.input.stride;
  return sm90::encode({call.operands.input.data,
                       call.description.precision,
                       {p.input[2], p.in_channels, p.input[1], p.input[0], p.batch},
                       {1, s[1], s[3], s[2], s[0]},
                       {gather_depth(static_cast<int>(element_bytes(call.description.precision))),
                        call.config.columns, call.config.lines, 1, 1}});
}

// Boxes of [out_channel][tap of d][two lines].
inline CUtensorMap gather_output_map(const GatherCall& call) {
  const Problem& p = call.description.problem;
  const GatherConfig& c = call.config;
  const Extent3 output = p.output();
  const auto& s = call.operands.output.stride;
  return sm90::encode({call.operands.output.data,
                       call.description.precision,
                       {output[2], output[1], output[0], p.out_channels, p.batch},
                       {1, s[3], s[2], s[1], s[0]},
                       {c.line_bytes / static_cast<int>(element_bytes(call.description.precision)),
                        2, c.taps_d, c.channels, 1},
                       {1, 1, 1, 1, 1},
                       false});
}

// Boxes of [every gather_group()th channel][elements from anywhere on].
inline CUtensorMap gather_group_map(const GatherCall& call) {
  const Problem& p = call.description.problem;
  const GatherConfig& c = call.config;
  const int group = gather_group(element_bytes_of(call));
  const int64_t elements = group * volume(p.output());
  return sm90::encode({call.operands.output.data,
                       call.description.precision,
                       {elements, p.batch * p.out_channels / group, 1, 1, 1},
                       {1, elements, elements, elements, elements},
                       {c.line_bytes / element_bytes_of(call), c.box_rows, 1, 1, 1},
                       {1, 1, 1, 1, 1},
                       false});
}

template <Precision kPrecision>
void run_gather(const GatherCall& call) {
  using T = ElementOf<kPrecision>;
  const bool aligned = is_aligned(call.operands.output.data);
  const bool odd = call.config.odd || !aligned, boxes = aligned && call.config.box_rows > 0;
  const GatherParams p = make_gather_params(call, boxes);
  const CUtensorMap input_map = gather_input_map(call);
  const CUtensorMap output_map = boxes ? gather_group_map(call)
                                 : odd ? input_map
                                       : gather_output_map(call);
  const auto kernel = odd ? gather_kernel<T, true> : gather_kernel<T, false>;
  const int bytes = kGatherAlign + p.stages * p.stage_bytes + (p.stages + 1) * p.input_bytes +
                    16 * kGatherMaxStages;
  allow_shared_memory(kernel, "line_weight shared memory");
  kernel<<<static_cast<unsigned>(p.jobs * p.splits), kThreads, bytes, call.stream>>>(p, input_map,
                                                                                     output_map);
  check(cudaGetLastError(), "line_weight gather_kernel");
  int lanes = 1;
  while (2 * lanes <= std::min(p.splits, kGatherReduceWarps)) lanes *= 2;
  sm90::launch_overlapping(
      "line_weight gather_reduce_kernel", gather_reduce_kernel<T>,
      {dim3(static_cast<unsigned>(p.jobs * kGatherItems * lanes / kGatherReduceWarps)),
       dim3(32 * kGatherReduceWarps), 0, call.stream},
      p, lanes);
}

}  // namespace convt3d::cuda::line_weight
