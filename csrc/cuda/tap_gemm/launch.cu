// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, and its launches: the input is packed, the blocks sum, the splits are added.
#include <algorithm>
#include <stdexcept>

#include "cuda/common/alignment.h"
#include "cuda/common/call.h"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/tensor_map.h"
#include "cuda/sm90/tile_pack.h"
#include "cuda/tap_gemm/call.h"
#include "cuda/tap_gemm/reduce.cuh"
#include "cuda/tap_gemm/tap_gemm.h"
#include "cuda/tap_gemm/tuning.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::tap_gemm {
namespace {

// Whether grad_output's copies may be of so many elements.
bool piece_aligned(const Problem& p, const Config& config, const TensorView& view, int piece) {
  if (piece == 1) return true;
  if (reinterpret_cast<uintptr_t>(view.data) % (piece * sizeof(float)) != 0) return false;
  const Extent3 output = p.output();
  const int64_t extents[5] = {p.batch, p.out_channels, output[0], output[1], output[2]};
  const int inner = config.planes ? 4 : 1;
  if (view.stride[inner] != 1) return false;
  for (int i = 0; i < 5; ++i) {
    if (i != inner && extents[i] > 1 && view.stride[i] % piece != 0) return false;
  }
  return true;
}

Params make_params(const Description& description, const Config& config, const Operands& operands,
                   void* workspace) {
  const Problem& p = description.problem;
  Params params{};
  params.output = static_cast<const float*>(operands.output.data);
  std::copy(operands.output.stride.begin(), operands.output.stride.end(), params.output_stride);
  params.packed = static_cast<float*>(workspace);
  params.partial = params.packed + packed_input_bytes(config, p.groups) / int64_t{sizeof(float)};
  params.result.data = static_cast<float*>(operands.weight.data);
  std::copy(operands.weight.stride.begin(), operands.weight.stride.end(), params.result.stride);
  params.input = config.input;
  params.batch = as_int(p.batch);
  params.groups = as_int(p.groups);
  params.in_channels = as_int(p.in_channels_per_group());
  params.out_channels = as_int(p.out_channels_per_group());
  const Extent3 output = p.output();
  int64_t tap_groups = 1;
  for (int axis = 0; axis < 3; ++axis) {
    const AxisSteps steps = halo_steps(p, axis, config.planes);
    params.input_extent[axis] = as_int(p.input[axis]);
    params.output_extent[axis] = as_int(output[axis]);
    params.kernel[axis] = as_int(p.kernel[axis]);
    params.stride[axis] = as_int(p.stride[axis]);
    params.dilation[axis] = as_int(p.dilation[axis]);
    params.padding[axis] = as_int(p.padding[axis]);
    params.common[axis] = as_int(steps.common);
    params.step[axis] = as_int(steps.step);
    params.tap_step[axis] = as_int(steps.tap_step);
    params.taps[axis] = config.taps[axis];
    params.tap_groups[axis] = as_int(config.tap_groups[axis]);
    params.halo[axis] = config.halo[axis];
    tap_groups *= config.tap_groups[axis];
  }
  for (int i = 0; i < 4; ++i) {
    params.box[i] = config.box[i];
    params.tiles[i] = as_int(config.tiles[i]);
  }
  params.all_tiles = as_int(config.all_tiles);
  params.line = config.line;
  params.positions = config.positions;
  params.width = config.width;
  params.block_rows = config.block_rows;
  params.group_rows = as_int(config.group_rows);
  params.all_rows = as_int(config.group_rows * tap_groups);
  params.row_tiles = as_int(config.row_tiles);
  params.column_tiles = as_int(config.column_tiles);
  params.position_pitch = config.position_pitch;
  params.channel_pitch = config.channel_pitch;
  params.planes = config.planes;
  params.boxes = config.boxes;
  params.halo_bytes = config.boxes ? config.channels * config.channel_pitch : 0;
  params.piece = config.piece;
  while (!piece_aligned(p, config, operands.output, params.piece)) params.piece /= 2;
  const int pieces =
      config.planes ? as_int(ceil_div(config.halo[2], params.piece)) : config.halo[2];
  params.slots = config.boxes ? 0 : config.box[0] * config.halo[0] * config.halo[1] * pieces;
  const int64_t tables = table_bytes(params.slots, params.positions);
  params.stages =
      as_int(std::min<int64_t>(config.stages, (kMaxShared - tables) / config.stage_bytes));
  params.stage_bytes = config.stage_bytes;
  params.packed_bytes = config.packed_bytes;
  // Equal loads of whole swizzled blocks of 8 lines.
  const int lines = config.packed_bytes / kLineBytes;
  int loads = as_int(ceil_div(lines, kMaxBoxLines));
  while (lines % (8 * loads) != 0) ++loads;
  params.box_lines = lines / loads;
  params.jobs = as_int(config.jobs);
  params.splits = as_int(config.splits);
  params.flush_tiles = as_int(config.flush_tiles);
  return params;
}

// The packed input as lines.
CUtensorMap packed_lines(const Params& p) {
  const int64_t lines =
      int64_t{p.groups} * p.column_tiles * p.all_tiles * p.packed_bytes / kLineBytes;
  return sm90::encode({p.packed,
                       Precision::fp32,
                       {kChunk, lines, 1, 1, 1},
                       {1, kChunk, 1, 1, 1},
                       {kChunk, p.box_lines, 1, 1, 1}});
}

// The input as it lies in memory: 32 positions of `columns` channels.
CUtensorMap input_lines(const Problem& p, const Config& config, const TensorView& input) {
  const auto& s = input.stride;
  sm90::TensorBox box{input.data,
                      Precision::tf32,
                      {p.input[2], p.in_channels, p.input[1], p.input[0], p.batch},
                      {1, s[1], s[3], s[2], s[0]},
                      {kChunk, config.columns, 1, 1, 1}};
  if (config.input == Input::flat) {
    box.extent = {volume(p.input), p.in_channels, p.batch, 1, 1};
    box.stride = {1, s[1], s[0], s[0], s[0]};
  }
  return sm90::encode(box);
}

// grad_output in boxes of a halo, of all channels of a block.
CUtensorMap output_planes(const Problem& p, const Config& c, Precision precision,
                          const TensorView& output) {
  const auto& s = output.stride;
  const Extent3 extent = p.output();
  sm90::TensorBox box{
      output.data,
      precision,
      {extent[2], extent[1], extent[0], p.batch, p.out_channels},
      {1, s[3], s[2], s[0], s[1]},
      {c.halo[2], c.halo[1], c.halo[0], c.box[0], c.channels},
      {1, as_int(halo_steps(p, 1, true).common), as_int(halo_steps(p, 0, true).common), 1, 1}};
  box.swizzled = false;
  return sm90::encode(box);
}

// input, tile by tile, as wgmma reads it.
void pack(const Launch& launch, const Problem& problem, const TensorView& input, int columns,
          bool split) {
  const Params& p = launch.params;
  sm90::TilePack pack{};
  pack.source = static_cast<const float*>(input.data);
  std::copy(input.stride.begin(), input.stride.end(), pack.stride);
  for (int axis = 0; axis < 3; ++axis) pack.extent[axis] = as_int(problem.input[axis]);
  pack.channels_inner =
      problem.in_channels > 1 && (problem.input[2] == 1 || input.stride[1] < input.stride[4]);
  pack.batch = p.batch;
  pack.groups = p.groups;
  pack.channels = p.in_channels;
  pack.columns = columns;
  pack.column_tiles = p.column_tiles;
  std::copy(p.box, p.box + 4, pack.box);
  std::copy(p.tiles, p.tiles + 4, pack.tiles);
  pack.all_tiles = p.all_tiles;
  pack.positions = p.positions;
  pack.order = sm90::Order::plain;
  pack.split = split;
  pack.packed = p.packed;
  sm90::pack_tiles(pack, launch.num_sms, launch.stream);
}

void reduce(const Launch& launch) {
  const Params& p = launch.params;
  int lanes = 1;
  while (2 * lanes <= std::min(p.splits, kMaxReduceLanes)) lanes *= 2;
  const dim3 threads(kReduceThreads / lanes, lanes);
  const int64_t row_blocks = ceil_div(p.all_rows, threads.x);
  const int64_t channel_blocks = ceil_div(int64_t{p.groups} * p.in_channels, kReduceChannels);
  sm90::launch_overlapping(
      "tap_gemm reduce_kernel", reduce_kernel,
      {static_cast<unsigned>(row_blocks * channel_blocks), threads, 0, launch.stream}, p,
      as_int(row_blocks));
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  bool found = false;
  const bool aligned = is_aligned(operands.input.data) && is_aligned(operands.output.data);
  const Config config = choose(description, device, aligned, &found);
  if (!found) throw std::logic_error("tap_gemm: no cut fits");
  const Params params = make_params(description, config, operands, workspace);
  const bool packs = config.input == Input::packed;
  const Problem& problem = description.problem;
  const CUtensorMap input =
      packs ? packed_lines(params) : input_lines(problem, config, operands.input);
  const CUtensorMap halo =
      config.boxes ? output_planes(problem, config, description.precision, operands.output) : input;
  const Launch launch{params,       input,          halo,
                      config.slabs, device.num_sms, static_cast<cudaStream_t>(stream)};
  if (packs) {
    pack(launch, problem, operands.input, config.columns, description.precision == Precision::fp32);
  }
  with_precision<Precision::fp32, Precision::tf32>(
      description.precision, [&]<Precision kPrecision>() {
        with_value<32, 48, 64, 128>(config.columns,
                                    [&]<int kColumns>() { run<kPrecision, kColumns>(launch); });
      });
  if (config.splits > 1 || config.flush_tiles > 0) reduce(launch);
}

}  // namespace convt3d::cuda::tap_gemm
