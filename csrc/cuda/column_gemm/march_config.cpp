// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/march_config.h"

#include <algorithm>

#include "cuda/column_gemm/cells.h"
#include "cuda/common/grad_weight_cuts.h"
#include "cuda/common/kept_answer.h"
#include "cuda/sm90/chain.h"

namespace convt3d::cuda::column_gemm {
namespace {

// Tiles of 8 columns: those of one or two warps side by side.
int64_t march_tiles(const Problem& p) {
  const int64_t tiles = ceil_div(volume(p.kernel) * p.out_channels, 8);
  for (int64_t warps : {1, 2}) {
    if (tiles <= warps * kWarpColumnTiles) return warps * kWarpColumnTiles;
  }
  return kMaxMarchTiles + 1;
}

// Whether it is faster than the kernel whose columns are taps on w only, which reads and multiplies
// a position once for each shift on d and h, but has fewer columns to fold.
bool pays(const Description& description, int64_t tiles) {
  const Problem& p = description.problem;
  const bool split = description.precision == Precision::fp32;
  if (column_tiles(p) > (split ? kMaxSplitTiles : kMaxColumnTiles)) return !split;
  if (p.batch * volume(p.input) < kMinMarchPositions) return false;
  const int64_t pairs = shift_pairs(p);
  const double saved = static_cast<double>(pairs * column_tiles(p) - tiles) * kTileLoads +
                       static_cast<double>(pairs - 1);
  return static_cast<double>(all_steps(description)) * saved * (split ? kSplitLoads : 1) >
         kFoldLoads * static_cast<double>(volume(p.kernel) * p.out_channels);
}

// Everything that follows from the cells of a box; the steps and stages are the most that fit.
bool complete(const Description& description, const Device& device, MarchConfig* c) {
  const Problem& p = description.problem;
  const int64_t size = element_bytes(description.precision), steps = all_steps(description);
  const int64_t lines = c->cells[1] + shifts(p.kernel[1], p.stride[1]) - 1;
  c->pairs = static_cast<int>(ceil_div(lines * c->line_rows, kWarpRows));
  const int64_t rows = int64_t{c->pairs} * kWarpRows;
  if (c->pairs > kWarps / (c->column_tiles / kWarpColumnTiles)) return false;
  // march_fold.cuh: a thread has a cell, with a residue of d.
  const int64_t cells = int64_t{c->cells[1]} * c->cells[2];
  if (cells * p.stride[0] > kThreads) return false;
  const int64_t carried =
      (shifts(p.kernel[0], p.stride[0]) - 1) * cells * volume(p.stride) * p.out_channels;
  const int64_t sums = int64_t{c->column_tiles} * 8 * march_sum_pitch(c->pairs);
  for (int64_t most : {4, 2, 1}) {
    c->chunks = static_cast<int>(ceil_div(steps, most));
    c->steps = static_cast<int>(ceil_div(steps, c->chunks));
    // The chunks may have more steps than there are channels for: zeros.
    const int64_t weights = int64_t{c->chunks} * c->steps * c->column_tiles * 256;
    const int64_t fixed = weights + round_up((sums + carried) * 4, 16) + kStaticBytes;
    // Rows whose strides or pointer are not aligned are loaded as planes.
    const int64_t planes =
        c->steps * step_channels(description.precision) * plane_pitch(rows, size);
    const int64_t stage = c->rows ? std::max(planes, rows * row_pitch(c->steps)) : planes;
    const int64_t stages =
        std::min<int64_t>((shared_bytes(device.arch) - fixed) / stage, kMaxStages);
    if (stages < (most > 1 ? kMinStages + 1 : kMinStages)) continue;
    c->stages = static_cast<int>(stages);
    c->shared = fixed + stages * stage;
    return true;
  }
  return false;
}

// Clocks that the busiest SM takes.
double estimate(const Description& description, const Device& device, const MarchConfig& c) {
  const Problem& p = description.problem;
  const int64_t items = p.batch * c.tiles[0] * c.tiles[1] * c.tiles[2];
  const int shifts_d = shifts(p.kernel[0], p.stride[0]);
  const int shifts_h = shifts(p.kernel[1], p.stride[1]);
  const int64_t lines = c.cells[1] + shifts_h - 1, steps = int64_t{c.chunks} * c.steps;
  const auto bytes = static_cast<double>(lines * c.line_rows * steps * 32);
  const double step =
      description.precision == Precision::fp32 ? kMarchSplitClocks : kMarchStepClocks;
  const double warps = static_cast<double>(c.pairs) * c.column_tiles / kWarpColumnTiles;
  const double fold = kJobClocks + kShareClocks *
                                       static_cast<double>(volume(p.kernel) * p.out_channels) /
                                       static_cast<double>(p.stride[0]);
  const double compute = static_cast<double>(steps) * std::max(warps, 8.0) * step + fold +
                         kMarchChunkClocks * c.chunks + kPlaneClocks;
  const double plane = std::max(bytes / kMarchBytesPerClock, compute);
  const double item = (c.cells[0] + shifts_d - 1) * plane;
  return static_cast<double>(ceil_div(items, device.num_sms)) * item;
}

}  // namespace

MarchConfig choose_march(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] {
    const Problem& p = description.problem;
    MarchConfig c{}, best{};
    c.column_tiles = static_cast<int>(march_tiles(p));
    // march_fold.cuh has two taps of an output on h and on w at a stride of 2, three at 1.
    const int64_t stride = p.stride[2], taps = stride == 2 ? 2 : 3;
    if (is_march_refused(description.precision, device.arch) || stride > 2 ||
        p.stride[1] != stride || std::max(p.kernel[1], p.kernel[2]) > stride * taps) {
      return best;
    }
    // fp32's instructions add to zero: march_multiply.cuh.
    if (c.column_tiles > kMaxMarchTiles || !pays(description, c.column_tiles) ||
        (description.precision != Precision::fp32 &&
         all_steps(description) > sm90::max_chain(description.precision))) {
      return best;
    }
    const int64_t size = element_bytes(description.precision);
    c.rows = description.input == Layout::ndhwc && p.in_channels * size % 16 == 0;
    const int64_t all_cells[3] = {cells(p, 0), cells(p, 1), ceil_div(p.output()[2], p.stride[2])};
    const int64_t most_rows = kRows / (c.column_tiles / kWarpColumnTiles);
    const int64_t longest =
        round_up(p.input[2], 8) <= most_rows / 2 ? all_cells[2] : most_rows / 2 - kLineSlack;
    double least = 0;
    for (int64_t wide : cuts(all_cells[2], longest, kMostCuts)) {
      const int64_t span = round_up(wide + extra_positions(p) + 7, 8);
      c.line_rows = static_cast<int>(std::min(round_up(p.input[2], 8), span));
      if (c.line_rows > most_rows) continue;
      for (int64_t h : cuts(all_cells[1], std::min(all_cells[1], kMaxMarchLines), kMaxMarchLines)) {
        for (int64_t d : cuts(all_cells[0], all_cells[0], kMostMarchCuts)) {
          c.cells = {static_cast<int>(d), static_cast<int>(h), static_cast<int>(wide)};
          for (int axis = 0; axis < 3; ++axis) {
            c.tiles[axis] = static_cast<int>(ceil_div(all_cells[axis], c.cells[axis]));
          }
          if (!complete(description, device, &c)) break;
          const double clocks = estimate(description, device, c);
          if (best.shared == 0 || clocks < least) best = c, least = clocks;
        }
      }
    }
    return best;
  });
}

std::string to_string(const MarchConfig& c) {
  const auto box = [](const std::array<int, 3>& x) {
    return std::to_string(x[0]) + "x" + std::to_string(x[1]) + "x" + std::to_string(x[2]);
  };
  return "march over cells " + box(c.cells) + ", columns " + std::to_string(8 * c.column_tiles) +
         ", rows " + std::to_string(c.pairs * kWarpRows) + " of lines of " +
         std::to_string(c.line_rows) + ", chunks " + std::to_string(c.chunks) + " of " +
         std::to_string(32 * c.steps) + " bytes, stages " + std::to_string(c.stages) +
         (c.rows ? ", rows" : ", planes");
}

}  // namespace convt3d::cuda::column_gemm
