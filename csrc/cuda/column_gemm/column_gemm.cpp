// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/column_gemm.h"

#include <algorithm>

#include "cuda/column_gemm/cells.h"
#include "cuda/column_gemm/config.h"
#include "cuda/column_gemm/input_config.h"
#include "cuda/column_gemm/march_config.h"
#include "cuda/column_gemm/tuning.h"
#include "cuda/column_gemm/weight_config.h"
#include "cuda/common/grad_weight_cuts.h"
#include "cuda/common/kept_answer.h"
#include "cuda/common/sums.h"
#include "cuda/sm90/chain.h"

namespace convt3d::cuda::column_gemm {
namespace {

// Whether 16-bit elements of the input are loaded one by one, each through a register, and are too
// few a position for the rest to make up for it.
bool loads_elements(const Description& description) {
  const Problem& p = description.problem;
  return element_bytes(description.precision) == 2 && description.input == Layout::ncdhw &&
         p.input[2] % 8 != 0 && p.in_channels <= kFewPlanes;
}

// Clocks that the busiest SM takes.
double estimate(const Description& description, const Device& device, const Config& c) {
  const Problem& p = description.problem;
  const int64_t items = p.batch * c.tiles[0] * c.tiles[1] * c.tiles[2];
  const int64_t lines = int64_t{c.cells[0]} * c.cells[1];
  const int64_t box_lines = int64_t{c.cells[0] + shifts(p.kernel[0], p.stride[0]) - 1} *
                            (c.cells[1] + shifts(p.kernel[1], p.stride[1]) - 1);
  const auto kilobytes =
      static_cast<double>(box_lines * c.line_rows * c.chunks * c.steps * 32) / 1024;
  const auto warp_rows = static_cast<double>(ceil_div(lines * c.line_rows, kWarpRows));
  const int products = description.precision == Precision::fp32 ? 3 : 1;
  const double multiply = warp_rows * static_cast<double>(shift_pairs(p) * all_steps(description)) *
                          products * (kStepClocks + kTileClocks * c.column_tiles);
  const double fold = static_cast<double>(lines * c.line_rows) * c.column_tiles * 8 * kFoldClocks;
  const double steps = kChunkClocks * c.chunks + kBoxClocks;
  const double box = std::max(kilobytes * kStageClocks, multiply + fold) + steps;
  return static_cast<double>(ceil_div(items, device.num_sms)) * box;
}

// Everything that follows from the cells of a box; the steps and stages are the most that fit.
bool complete(const Description& description, const Device& device, Config* c) {
  const Problem& p = description.problem;
  const int64_t size = element_bytes(description.precision), steps = all_steps(description);
  const int64_t lines = int64_t{c->cells[0]} * c->cells[1];
  const int64_t box_lines = int64_t{c->cells[0] + shifts(p.kernel[0], p.stride[0]) - 1} *
                            (c->cells[1] + shifts(p.kernel[1], p.stride[1]) - 1);
  const int64_t positions = box_lines * c->line_rows;
  if (c->line_rows > kRows || c->line_rows * size > 32 * 16) return false;
  c->part_lines = static_cast<int>(std::min<int64_t>(lines, kRows / c->line_rows));
  c->parts = static_cast<int>(ceil_div(lines, c->part_lines));
  if (c->parts > kMaxParts) return false;
  const int64_t sums = int64_t{c->column_tiles} * 8 * kSumPitch * 4;
  // Tables: each row's position, the lines of the input, those of the output, the bias and
  // the shifts.
  const int64_t tables = kRows * c->parts * 4 + box_lines * 4 +
                         lines * p.stride[0] * p.stride[1] * 12 + kMaxOuts * 4 + kStaticBytes;
  for (int64_t most : {4, 2, 1}) {
    c->chunks = static_cast<int>(ceil_div(steps, most));
    c->steps = static_cast<int>(ceil_div(steps, c->chunks));
    // The chunks may have more steps than there are channels for: zeros.
    const int64_t weights = shift_pairs(p) * c->chunks * c->steps * c->column_tiles * 256;
    const int64_t fixed = weights + sums + round_up(tables, 16);
    if (c->parts > 1 && c->chunks > 1) continue;
    // Rows whose strides or pointer are not aligned are loaded as planes.
    const int64_t planes =
        c->steps * step_channels(description.precision) * plane_pitch(positions, size);
    const int64_t stage = c->rows ? std::max(planes, positions * row_pitch(c->steps)) : planes;
    const int64_t stages =
        std::min<int64_t>((shared_bytes(device.arch) - fixed) / stage, kMaxStages);
    if (stages < kMinStages) continue;
    if (stages == kMinStages && c->steps > 1 && c->chunks > 1) continue;
    c->stages = static_cast<int>(stages);
    c->shared = fixed + stages * stage;
    return true;
  }
  return false;
}

}  // namespace

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] {
    const Problem& p = description.problem;
    Config c{}, best{};
    c.column_tiles = static_cast<int>(column_tiles(p));
    c.block_columns = static_cast<int>(block_columns(p));
    const int64_t size = element_bytes(description.precision);
    c.rows = description.input == Layout::ndhwc && p.in_channels * size % 16 == 0;
    const int64_t all_cells[3] = {cells(p, 0), cells(p, 1), ceil_div(p.output()[2], p.stride[2])};
    double least = 0;
    // A line is at most 32 pieces of 16 bytes, one for each lane: box.cuh.
    const int64_t longest = round_up(p.input[2], 8) <= kLongestLine / size
                                ? all_cells[2]
                                : kLongestLine / size - kLineSlack;
    for (int64_t wide : cuts(all_cells[2], longest, kMostCuts)) {
      const int64_t span = round_up(wide + extra_positions(p) + 7, 8);
      c.line_rows = static_cast<int>(std::min(round_up(p.input[2], 8), span));
      if (c.line_rows > kRows) continue;
      for (int64_t d = 1; d <= std::min<int64_t>(all_cells[0], kMaxBoxCells); ++d) {
        for (int64_t h = 1; h <= std::min<int64_t>(all_cells[1], kMaxBoxCells); ++h) {
          c.cells = {static_cast<int>(d), static_cast<int>(h), static_cast<int>(wide)};
          for (int axis = 0; axis < 3; ++axis) {
            c.tiles[axis] = static_cast<int>(ceil_div(all_cells[axis], c.cells[axis]));
          }
          if (!complete(description, device, &c)) continue;
          const double clocks = estimate(description, device, c);
          if (best.shared == 0 || clocks < least) best = c, least = clocks;
        }
      }
    }
    return best;
  });
}

namespace {

Verdict supports_forward(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (loads_elements(description)) {
    return Verdict::refuse("16 bits in NCDHW, lines that are no multiple of 16 bytes");
  }
  if (p.in_channels < kMinIns) return Verdict::refuse("less than 8 in_channels");
  if (p.stride[2] > 2) return Verdict::refuse("the stride on w is more than 2");
  if (p.kernel[2] > kMaxTaps * p.stride[2]) return Verdict::refuse("too many taps on w");
  const MarchConfig march = choose_march(description, device);
  if (march.shared != 0) {
    return static_cast<double>(p.batch) * march.tiles[0] * march.tiles[1] * march.tiles[2] >
                   kMaxExtent
               ? Verdict::refuse("too many positions")
               : Verdict::accept();
  }
  if (p.stride[0] * p.stride[1] > 16 || column_tiles(p) > kMaxColumnTiles) {
    return Verdict::refuse("more than 32 columns of taps on w, out_channels and residues");
  }
  if (p.kernel[0] > 64 || p.kernel[1] > 64 || shift_pairs(p) > kMaxShifts) {
    return Verdict::refuse("too many taps on d and h");
  }
  if (description.precision == Precision::fp32 && column_tiles(p) > kMaxSplitTiles) {
    return Verdict::refuse("more than 16 columns of taps on w, out_channels and residues");
  }
  // fp32's instructions add to zero: multiply.cuh.
  if (description.precision != Precision::fp32 &&
      shift_pairs(p) * all_steps(description) > sm90::max_chain(description.precision)) {
    return Verdict::refuse("too many in_channels for one chain of sums");
  }
  const Config c = choose(description, device);
  if (c.shared == 0) return Verdict::refuse("the taps reach too far apart for shared memory");
  if (static_cast<double>(p.batch) * c.tiles[0] * c.tiles[1] * c.tiles[2] > kMaxExtent) {
    return Verdict::refuse("too many positions");
  }
  return Verdict::accept();
}

}  // namespace

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch < 80) return Verdict::refuse("needs compute capability 8.0");
  if (description.precision == Precision::fp64) return Verdict::refuse("has no float64");
  if (is_refused(description.precision, device.arch)) {
    return Verdict::refuse("three TF32 products take longer than one of float32 on this GPU");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  if (p.dilation != Extent3{1, 1, 1}) return Verdict::refuse("dilation must be 1");
  if (*std::max_element(p.stride.begin(), p.stride.end()) > kMaxStride) {
    return Verdict::refuse("strides must be at most 4");
  }
  if (p.out_channels > kMaxOuts) return Verdict::refuse("more than 2 out_channels");
  for (int axis = 0; axis < 3; ++axis) {
    if (p.input[axis] > kMaxExtent || p.output()[axis] > kMaxExtent ||
        p.padding[axis] > kMaxExtent) {
      return Verdict::refuse("an axis is too long");
    }
  }
  if (p.batch * volume(p.input) == 0 || p.batch > kMaxExtent) {
    return Verdict::refuse("no positions, or too many");
  }
  if (description.direction == Direction::grad_input) return supports_input(description, device);
  if (description.precision == Precision::fp32 && products_of_sum(description) < kMinFloatSum) {
    return Verdict::refuse("float32: too few products in a sum to be as exact as whole ones");
  }
  if (description.direction == Direction::grad_weight) return supports_weight(description, device);
  return supports_forward(description, device);
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  return description.direction == Direction::grad_weight
             ? weight_workspace_bytes(description, device)
             : 0;
}

std::string to_string(const Config& c) {
  const auto box = [](const std::array<int, 3>& x) {
    return std::to_string(x[0]) + "x" + std::to_string(x[1]) + "x" + std::to_string(x[2]);
  };
  return "cells " + box(c.cells) + ", columns " + std::to_string(8 * c.column_tiles) + ", parts " +
         std::to_string(c.parts) + " of " + std::to_string(c.part_lines) + " lines of " +
         std::to_string(c.line_rows) + ", chunks " + std::to_string(c.chunks) + " of " +
         std::to_string(32 * c.steps) + " bytes, stages " + std::to_string(c.stages) +
         (c.rows ? ", rows" : ", planes");
}

std::string config(const Description& description, const Device& device) {
  if (description.direction == Direction::grad_input) {
    return to_string(choose_input(description, device));
  }
  if (description.direction == Direction::grad_weight) {
    return to_string(choose_weight(description, device));
  }
  const MarchConfig march = choose_march(description, device);
  return march.shared != 0 ? to_string(march) : to_string(choose(description, device));
}

}  // namespace convt3d::cuda::column_gemm
