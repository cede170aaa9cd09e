// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, and its launches.
#include <algorithm>

#include "cuda/common/alignment.h"
#include "cuda/common/call.h"
#include "cuda/halo_weight/fold.h"
#include "cuda/halo_weight/launch_reduce.cuh"
#include "cuda/halo_weight/prepare.h"
#include "cuda/halo_weight/taps.h"
#include "cuda/halo_weight/turn.h"
#include "cuda/sm90/row_pack.h"
#include "cuda/sm90/tensor_map.h"
#include "cuda/sm90/tile_pack.h"
#include "cuda/view_weight/call.h"
#include "cuda/view_weight/config.h"
#include "cuda/view_weight/view_weight.h"
#include "cuda/weight_gemm/weight_gemm.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::view_weight {
namespace {

using halo_weight::Taps;

Params make_params(const Problem& problem, const Config& c, const Taps& taps,
                   const TensorView& weight, void* workspace) {
  Params p{};
  p.work = halo_weight::make_work(c, workspace, job_units(c), taps.units,
                                  ceil_div(problem.out_channels, c.out_width));
  p.lanes = lanes_of_unit(c);
  p.out_width = c.out_width;
  p.run = c.runs ? c.units : 1;
  p.stages = c.stages;
  p.stage_bytes = c.stage_bytes;
  p.chain = c.chain;
  p.box_positions = 1;
  p.view_loaded = c.out_width * kElementBytes * c.box[0];
  for (int i = 0; i < 4; ++i) {
    p.box[i] = c.box[i];
    p.tiles[i] = as_int(c.tiles[i]);
    p.box_positions *= c.box[i];
  }
  int pitch = 1;
  for (int a = 2; a >= 0; --a) {
    p.stride[a] = as_int(problem.stride[a]);
    pitch *= c.box[1 + a] + c.halo[a];
    p.halo_pitch[a] = pitch;
    p.view_loaded *= c.box[1 + a] + c.halo[a];
  }
  p.positions = c.positions;
  p.order = order_of(c);
  p.input_bytes = c.positions * c.columns * kElementBytes * parts_of_input(c);
  const int lines = p.input_bytes / sm90::kLineBytes;
  // Equal loads of whole swizzled blocks of 8 lines.
  p.input_loads = as_int(ceil_div(lines, kMaxSpan));
  while (lines % (8 * p.input_loads) != 0) ++p.input_loads;
  p.lines = lines / p.input_loads;
  p.turns_input = c.turns_input;
  p.raw_parts = raw_parts(c.columns);
  p.raw_part_loaded = p.box_positions * kRawWidth * kElementBytes;
  p.raw_part_bytes = as_int(raw_part_bytes(c));
  p.view_bytes = c.view_rows * c.out_width * kElementBytes;
  p.swizzle = c.out_width == 32 ? 0x70 : 0x30;
  for (size_t i = 0; i < taps.views.size(); ++i) {
    for (int a = 0; a < 3; ++a) p.view_start[i][a] = static_cast<int16_t>(taps.views[i][a]);
  }
  std::fill(p.lane, p.lane + kMaxLanes, halo_weight::LaneEntry{halo_weight::kNoView, 0});
  for (size_t i = 0; i < taps.lanes.size(); ++i) {
    const halo_weight::Lane& lane = taps.lanes[i];
    if (lane.tap < 0) continue;
    const int row =
        lane.shift[0] * p.halo_pitch[1] + lane.shift[1] * p.halo_pitch[2] + lane.shift[2];
    p.lane[i] = {static_cast<uint16_t>(lane.view), static_cast<uint16_t>(row)};
    p.tap[i] = static_cast<uint16_t>(lane.tap);
  }
  p.target.data = weight.data;
  std::copy(weight.stride.begin(), weight.stride.end(), p.target.stride);
  for (int a = 0; a < 3; ++a) p.target.kernel[a] = as_int(problem.kernel[a]);
  p.target.in_channels = as_int(problem.in_channels);
  p.target.out_channels = as_int(problem.out_channels);
  p.target.whole_pieces = rows_aligned(weight, problem.in_channels, problem.kernel, kElementBytes);
  return p;
}

void pack_input(const Problem& problem, const Device& device, const Config& c,
                const TensorView& input, float* packed, cudaStream_t stream) {
  sm90::TilePack pack{};
  pack.source = static_cast<const float*>(input.data);
  std::copy(input.stride.begin(), input.stride.end(), pack.stride);
  for (int a = 0; a < 3; ++a) pack.extent[a] = as_int(problem.input[a]);
  pack.channels_inner = problem.input[2] == 1 || input.stride[1] < input.stride[4];
  pack.batch = as_int(problem.batch);
  pack.groups = 1;
  pack.channels = as_int(problem.in_channels);
  pack.columns = c.columns;
  pack.column_tiles = c.in_tiles;
  std::copy(c.box.begin(), c.box.end(), pack.box);
  for (int i = 0; i < 4; ++i) pack.tiles[i] = as_int(c.tiles[i]);
  pack.all_tiles = as_int(c.all_tiles);
  pack.positions = c.positions;
  pack.order = order_of(c);
  pack.split = c.full;
  pack.packed = packed;
  pack.overlapping = c.packed_output;  // grad_output's rows, before
  sm90::pack_tiles(pack, device.num_sms, stream);
}

// grad_output itself, or rows of channels at `packed`.
TensorView rows_of(const Problem& problem, const TensorView& view, bool packs, float* packed,
                   cudaStream_t stream) {
  if (!packs) return view;
  const Extent3 extent = problem.output();
  const int64_t row = sm90::row_channels(problem.out_channels, kElementBytes);
  sm90::pack_rows(
      {view.data, view.stride, problem.batch, problem.out_channels, extent, kElementBytes, packed},
      stream);
  return {packed, {volume(extent) * row, 1, extent[1] * extent[2] * row, extent[2] * row, row}};
}

// Rows of channels, of which every `step`th is loaded; TF32: rounded.
CUtensorMap rows_map(Precision precision, const TensorView& view, int64_t batch, int64_t channels,
                     const Extent3& extent, const Extent3& step, const std::array<int, 5>& box) {
  const auto& s = view.stride;
  return sm90::encode({view.data,
                       precision,
                       {channels, extent[2], extent[1], extent[0], batch},
                       {1, s[4], s[3], s[2], s[0]},
                       box,
                       {1, as_int(step[2]), as_int(step[1]), as_int(step[0]), 1}});
}

CUtensorMap output_map(const Problem& p, const Config& c, const TensorView& view) {
  return rows_map(
      c.full ? Precision::fp32 : Precision::tf32, view, p.batch, p.out_channels, p.output(),
      p.stride,
      {c.out_width, c.box[3] + c.halo[2], c.box[2] + c.halo[1], c.box[1] + c.halo[0], c.box[0]});
}

CUtensorMap input_rows_map(const Problem& p, const Config& c, const TensorView& view) {
  return rows_map(Precision::tf32, view, p.batch, p.in_channels, p.input, {1, 1, 1},
                  {kRawWidth, c.box[3], c.box[2], c.box[1], c.box[0]});
}

// The packed input, which is rounded, as lines.
CUtensorMap input_lines_map(const Params& p, const Config& c, float* packed) {
  const int64_t lines = packed_input_bytes(c) / sm90::kLineBytes;
  return sm90::encode({packed,
                       Precision::fp32,
                       {sm90::kChunk, lines, 1, 1, 1},
                       {1, sm90::kChunk, 1, 1, 1},
                       {sm90::kChunk, p.lines, 1, 1, 1}});
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Description fold = fold_of(description, device);
  const Operands tensors = halo_weight::folded(description, fold, operands);
  const Problem& problem = fold.problem;
  const Config c = choose(fold, device);
  const bool output_aligned = c.packed_output || rows_aligned(tensors.output, problem.batch,
                                                              problem.output(), kElementBytes);
  const bool input_aligned =
      !c.turns_input || rows_aligned(tensors.input, problem.batch, problem.input, kElementBytes);
  if (!output_aligned || !input_aligned) {
    return weight_gemm::launch(description, device, operands, workspace, stream);
  }
  const auto on = static_cast<cudaStream_t>(stream);
  unsigned char* const packed = static_cast<unsigned char*>(workspace) + pieces_bytes(c);
  float* const lines = reinterpret_cast<float*>(packed);
  float* const rows = reinterpret_cast<float*>(packed + packed_input_bytes(c));
  const Taps taps = arrange(halo_weight::make_taps(problem, c.shares, 1), c);
  const TensorView weight = c.turned
                                ? halo_weight::turned_rows(fold, packed + packed_input_bytes(c) +
                                                                     packed_output_bytes(fold, c))
                                : tensors.weight;
  const Params p = make_params(problem, c, taps, weight, workspace);
  const TensorView output = rows_of(problem, tensors.output, c.packed_output, rows, on);
  if (!c.turns_input) pack_input(problem, device, c, tensors.input, lines, on);
  const CUtensorMap input =
      c.turns_input ? input_rows_map(problem, c, tensors.input) : input_lines_map(p, c, lines);
  const Launch call{p, input, output_map(problem, c, output), c.units, c.runs, on};
  with_precision<Precision::fp32, Precision::tf32>(
      description.precision, [&]<Precision kPrecision>() {
        with_value<32, 48, 64, 128>(c.columns,
                                    [&]<int kColumns>() { run<kPrecision, kColumns>(call); });
      });
  if (c.turned) {
    halo_weight::turn_weight(fold, weight.data, tensors.weight, on);
  } else if (!c.direct) {
    halo_weight::reduce<float>({problem, tensors.weight, c.columns, c.out_width, on,
                                halo_weight::line_of(description, fold)},
                               taps, p.work);
  }
}

}  // namespace convt3d::cuda::view_weight
