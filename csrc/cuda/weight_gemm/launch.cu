// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers.
#include <algorithm>
#include <stdexcept>

#include "cuda/common/alignment.h"
#include "cuda/weight_gemm/call.h"
#include "cuda/weight_gemm/tile.h"
#include "cuda/weight_gemm/weight_gemm.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::weight_gemm {
namespace {

Side make_side(const TensorView& view, const Extent3& extent, int64_t batch, int64_t channels,
               int64_t groups, int64_t element) {
  Side side{};
  side.data = view.data;
  std::copy(view.stride.begin(), view.stride.end(), side.stride);
  side.channels = as_int(channels);
  const int64_t extents[5] = {batch, channels * groups, extent[0], extent[1], extent[2]};
  side.whole_pieces = is_aligned(view.data) && (view.stride[1] == 1 || extents[1] == 1);
  for (int i = 0; i < 5; ++i) {
    if (i == 1) continue;
    if (extents[i] > 1 && view.stride[i] * element % 16 != 0) side.whole_pieces = false;
  }
  // Groups start at multiples of their channels.
  if (groups > 1 && channels * element % 16 != 0) side.whole_pieces = false;
  for (int axis = 0; axis < 3; ++axis) side.extent[axis] = as_int(extent[axis]);
  return side;
}

void set_tile(int64_t channels, int64_t rows, int64_t element, Side* side) {
  side->tile_channels = as_int(channels);
  side->rows = as_int(rows);
  side->pitch = row_pitch(channels, element);
  // Neighbouring lanes take neighbours in memory.
  const bool channels_inner =
      side->stride[1] == 1 && (side->extent[2] == 1 || side->stride[4] != 1);
  side->lanes = side->whole_pieces || channels_inner ? as_int(channels * element / 16) : 1;
}

Params make_params(const Description& description, const Config& config, const Operands& operands,
                   void* workspace) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  Params params{};
  params.input =
      make_side(operands.input, p.input, p.batch, p.in_channels_per_group(), p.groups, element);
  params.output = make_side(operands.output, p.output(), p.batch, p.out_channels_per_group(),
                            p.groups, element);
  const int64_t in_channels = int64_t{config.in_parts} * tile_rows(config.tile);
  const int64_t out_channels = int64_t{config.out_parts} * 16;
  set_tile(in_channels, config.positions, element, &params.input);
  int64_t halo = config.box[0];
  for (int extent : config.halo) halo *= extent;
  set_tile(out_channels, halo, element, &params.output);
  params.partial = static_cast<float*>(workspace);
  params.batch = as_int(p.batch);
  params.groups = as_int(p.groups);
  for (int axis = 0; axis < 3; ++axis) {
    const AxisSteps steps = axis_steps(p, axis);
    params.input.step[axis] = 1;
    params.output.step[axis] = as_int(steps.common);
    params.step[axis] = as_int(steps.step);
    params.tap_step[axis] = as_int(steps.tap_step);
    params.kernel[axis] = as_int(p.kernel[axis]);
    params.stride[axis] = as_int(p.stride[axis]);
    params.dilation[axis] = as_int(p.dilation[axis]);
    params.padding[axis] = as_int(p.padding[axis]);
    params.taps[axis] = config.taps[axis];
    params.tap_groups[axis] = as_int(config.tap_groups[axis]);
    params.halo[axis] = config.halo[axis];
  }
  for (int i = 0; i < 4; ++i) {
    params.box[i] = config.box[i];
    params.tiles[i] = as_int(config.tiles[i]);
  }
  params.all_tiles = as_int(config.all_tiles);
  params.line = config.line;
  params.positions = config.positions;
  params.output_offset = config.positions * params.input.pitch;
  params.stage_bytes = params.output_offset + config.rows * params.output.pitch;
  params.stages = config.stages;
  params.in_parts = config.in_parts;
  params.out_parts = config.out_parts;
  params.units = config.taps[0] * config.taps[1] * config.taps[2] * config.out_parts;
  params.warps = config.warps;
  params.in_tiles = as_int(config.in_tiles);
  params.out_tiles = as_int(config.out_tiles);
  params.jobs = as_int(config.jobs);
  params.splits = as_int(config.splits);
  return params;
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Problem& p = description.problem;
  Config config;
  if (!choose(description, device, &config)) throw std::logic_error("weight_gemm: no cut fits");
  Call call{make_params(description, config, operands, workspace),
            {operands.weight.data, {}, {}, p.in_channels, p.out_channels_per_group()},
            config,
            static_cast<cudaStream_t>(stream)};
  std::copy(operands.weight.stride.begin(), operands.weight.stride.end(), call.result.stride);
  for (int axis = 0; axis < 3; ++axis) call.result.kernel[axis] = as_int(p.kernel[axis]);
  with_precision<Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() { run<kPrecision>(call); });
}

}  // namespace convt3d::cuda::weight_gemm
