// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers.
#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "cuda/common/alignment.h"
#include "cuda/common/call.h"
#include "cuda/few_channels/few_channels.h"
#include "cuda/line_weight/config.h"
#include "cuda/line_weight/gather_config.h"
#include "cuda/line_weight/gather_params.h"
#include "cuda/line_weight/line_weight.h"
#include "cuda/line_weight/params.h"
#include "cuda/line_weight/pick_launch.h"
#include "cuda/line_weight/shift_params.h"
#include "cuda/weight_gemm/weight_gemm.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::line_weight {
namespace {

// Copies of `piece`, or less where the tensor does not start on it; of words if lines are odd.
Source make_source(const TensorView& view, const Extent3& extent, int piece, int line_elements,
                   bool odd) {
  Source source{};
  source.data = static_cast<const unsigned short*>(view.data);
  while (!odd && reinterpret_cast<uintptr_t>(view.data) % (2 * piece) != 0) piece /= 2;
  source.batch_stride = view.stride[0];
  for (int i = 0; i < 3; ++i) {
    source.stride[i] = as_int(view.stride[1 + i]);
    source.extent[i] = as_int(extent[i]);
  }
  source.piece = piece;
  source.pieces = as_int(ceil_div(line_elements, piece));
  return source;
}

// Whether the taps of a line are contiguous in the weight, and aligned to their size.
bool whole_lines(const TensorView& weight, int taps) {
  bool aligned = weight.stride[4] == 1 && taps % 2 == 0 &&
                 reinterpret_cast<uintptr_t>(weight.data) % (2 * taps) == 0;
  for (int i = 0; i < 4; ++i) aligned = aligned && weight.stride[i] % taps == 0;
  return aligned;
}

Params make_params(const Description& description, const Config& c, const Operands& operands,
                   void* workspace) {
  const Problem& problem = description.problem;
  Params p{};
  p.input = make_source(operands.input, problem.input, c.input_piece, c.box[2], false);
  p.output =
      make_source(operands.output, problem.output(), c.output_piece, line_elements(c), c.tile.odd);
  p.result.data = operands.weight.data;
  std::copy(operands.weight.stride.begin(), operands.weight.stride.end(), p.result.stride);
  p.result.whole = whole_lines(operands.weight, c.tile.taps);
  p.partial = partial_bytes(c) > 0 ? static_cast<float*>(workspace) : nullptr;
  p.in_channels = as_int(problem.in_channels);
  p.lines = as_int(c.lines);
  for (size_t axis = 0; axis < 3; ++axis) {
    if (axis < 2) {
      p.kernel[axis] = as_int(problem.kernel[axis]);
      p.dilation[axis] = as_int(problem.dilation[axis]);
    }
    p.stride[axis] = as_int(problem.stride[axis]);
    p.first[axis] = as_int(problem.padding[axis]) + (axis == 2 ? c.lead : 0);
    p.box[axis] = c.box[axis];
    p.input.span[axis] = c.box[axis];
    p.output.span[axis] = axis == 2 ? p.output.pieces * p.output.piece
                                    : as_int(problem.dilation[axis] * (problem.kernel[axis] - 1) +
                                             problem.stride[axis] * (c.box[axis] - 1) + 1);
  }
  std::transform(c.tiles.begin(), c.tiles.end(), p.tiles, as_int);
  p.all_tiles = as_int(c.all_tiles);
  p.input_pitch = c.input_pitch;
  p.output_pitch = c.output_pitch;
  p.row_bytes = c.row_bytes;
  p.lead = c.lead;
  p.column_tiles = as_int(c.column_tiles);
  p.jobs = as_int(c.jobs);
  p.splits = as_int(c.splits);
  p.clustered = c.clustered;
  p.chain = c.chain;
  p.row_pieces = c.box[0] * c.box[1] * p.output.pieces;
  p.column_pieces = c.box[0] * c.box[1] * p.input.pieces;
  p.stages =
      as_int(std::min<int64_t>(c.stages, stages_of(problem, c, p.input.piece, p.output.piece)));
  p.stage_bytes = c.stage_bytes;
  p.has_holes = has_holes(c);
  return p;
}

int index_of(const Tile& tile) {
  const auto same = [&](const Tile& t) {
    return t.stride == tile.stride && t.taps == tile.taps && t.columns == tile.columns &&
           t.groups == tile.groups && t.odd == tile.odd;
  };
  return as_int(std::find_if(std::begin(kTiles), std::end(kTiles), same) - std::begin(kTiles));
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const PickConfig picks = choose_picks(description, device);
  if (picks.splits > 0) {
    if (!launch_picks(description, picks, operands, workspace, static_cast<cudaStream_t>(stream))) {
      const bool few = !weight_gemm::supports(description, device).ok;
      const auto fallback = few ? few_channels::launch : weight_gemm::launch;
      fallback(description, device, operands, workspace, stream);
    }
    return;
  }
  if (shifts(description, device)) {
    if (!is_aligned(operands.input.data) || !is_aligned(operands.output.data)) {
      return weight_gemm::launch(description, device, operands, workspace, stream);
    }
    const ShiftConfig config = choose_shifts(description, device);
    const ShiftCall call{description, config, operands, workspace,
                         static_cast<cudaStream_t>(stream)};
    return with_precision<Precision::fp16, Precision::bf16, Precision::tf32>(
        description.precision, [&]<Precision kPrecision>() { run_shifts<kPrecision>(call); });
  }
  if (gathers(description, device)) {
    if (reinterpret_cast<uintptr_t>(operands.input.data) % kGatherInputAlign != 0) {
      return weight_gemm::launch(description, device, operands, workspace, stream);
    }
    const GatherConfig config = choose_gather(description, device);
    const GatherCall call{description, config, operands, workspace,
                          static_cast<cudaStream_t>(stream)};
    return with_precision<Precision::fp16, Precision::bf16, Precision::tf32>(
        description.precision, [&]<Precision kPrecision>() { run_gather<kPrecision>(call); });
  }
  const Config c = choose(description, device);
  if (c.stages == 0) throw std::logic_error("line_weight: no cut fits");
  const Launch launch{make_params(description, c, operands, workspace),
                      static_cast<cudaStream_t>(stream)};
  with_precision<Precision::fp16, Precision::bf16>(
      description.precision,
      [&]<Precision kPrecision>() { run<kPrecision>(launch, index_of(c.tile)); });
}

}  // namespace convt3d::cuda::line_weight
