// SPDX-License-Identifier: BSD-3-Clause
// The search for a cut: of an estimate of clocks, the least.
#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "cuda/common/grad_weight_cuts.h"
#include "cuda/common/kept_answer.h"
#include "cuda/halo_weight/blocks.h"
#include "cuda/halo_weight/taps.h"
#include "cuda/halo_weight/tuning.h"
#include "cuda/halo_weight/turned.h"
#include "cuda/sm90/chain.h"
#include "cuda/view_weight/config.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::view_weight {
namespace {

using halo_weight::Taps;
using halo_weight::Views;

// What a box is in shared memory.
struct Stage {
  std::array<int, 4> box{};
  std::array<int, 3> halo{};
  int64_t positions = 0, view_rows = 0;
  std::array<int64_t, 4> tiles{};
  int64_t all_tiles = 1;
};

bool make_stage(const Problem& p, const std::array<int64_t, 4>& box, const std::array<int, 3>& halo,
                Stage* stage) {
  stage->all_tiles = stage->tiles[0] = ceil_div(p.batch, box[0]);
  stage->positions = stage->view_rows = box[0];
  stage->halo = halo;
  for (int i = 0; i < 4; ++i) {
    stage->box[i] = as_int(box[i]);
    if (i == 0) continue;
    const int64_t outer = box[i] + halo[i - 1];
    if ((outer - 1) * p.stride[i - 1] + 1 > kMaxSpan) return false;
    stage->positions *= box[i];
    stage->view_rows *= outer;
    stage->tiles[i] = ceil_div(p.input[i - 1], box[i]);
    stage->all_tiles *= stage->tiles[i];
  }
  stage->positions = round_up(stage->positions, sm90::kChunk);
  return true;
}

std::vector<int64_t> lengths(int64_t extent, int64_t longest) {
  std::vector<int64_t> found = cuts(extent, longest, kMaxCuts);
  for (int64_t length : {8, 16, 32, 64}) {
    if (length < std::min(extent, longest) &&
        std::find(found.begin(), found.end(), length) == found.end()) {
      found.push_back(length);
    }
  }
  return found;
}

std::vector<Stage> stages_of(const Problem& p, std::array<int, 3> halo, bool runs) {
  std::vector<Stage> found;
  // Rows of runs, one line apart, in different banks.
  while (runs && (kRunPositions + halo[2]) % 4 != 2) ++halo[2];
  const auto rest = [](int64_t taken) { return std::max<int64_t>(1, kMaxPositions / taken); };
  const std::vector<int64_t> run{kRunPositions};
  for (int64_t w : runs ? run : lengths(p.input[2], kMaxPositions)) {
    for (int64_t h : cuts(p.input[1], rest(w), kMaxCuts)) {
      for (int64_t d : cuts(p.input[0], rest(w * h), kMaxCuts)) {
        const bool whole = w >= p.input[2] && h == p.input[1] && d == p.input[0];
        for (int64_t n = 1; n <= (whole ? p.batch : 1) && n * d * h * w <= kMaxPositions; ++n) {
          Stage stage;
          if (make_stage(p, {n, d, h, w}, halo, &stage)) found.push_back(stage);
        }
      }
    }
  }
  return found;
}

struct Shape {
  const Problem& problem;
  int64_t num_sms;
  bool direct;   // blocks may store the weight
  double turn;   // clocks of the launch that then follows
  bool rows;     // input is rows of channels
  double bytes;  // of input and grad_output
};

// Clocks of a box of a job.
double box_clocks(const Config& c, const Stage& stage, const Views& views) {
  const double steps = as_double(stage.positions / kStepPositions * job_units(c));
  const int factors = c.full ? 3 : 1;
  const double lines = as_double(c.columns * stage.positions / sm90::kChunk * parts_of_input(c));
  const double rows = views.mean * as_double(stage.view_rows);
  const double columns = c.columns;
  const double row_bytes = c.out_width * kElementBytes;
  // Shared memory is read by wgmma and for A, 128 bytes a clock, and written by the loads.
  const double run = kRunPositions - 1.0 + c.units;
  const double gather = !c.runs             ? 16 * kConflicts
                        : c.out_width == 32 ? 2 * run / c.units * kConflicts
                                            : 4 * run / c.units;  // in pairs of the same banks
  const double shared = steps * (factors * columns / 4 + gather) + rows * row_bytes / 128 +
                        lines * (c.turns_input ? 3 : 1);
  const double exposed = c.full ? (columns / 4 + kSplitClocks) * kExposed : 0;
  const double multiply = std::max(steps * factors * columns / 2, shared) +
                          steps * (factors * kIssueClocks + exposed) + kStageClocks;
  const double turned =
      as_double(ceil_div(stage.positions / kStepPositions * raw_parts(c.columns), kTurningWarps));
  const double turn = c.turns_input ? turned * kTurnClocks + kStageClocks : 0;
  const double load = lines * kRowClocks + rows * (c.out_width == 32 ? kRowClocks : kHalfRowClocks);
  return std::max({multiply, load, turn}) +
         (c.stages == kMinStages ? std::min(multiply, load) / 4 : 0);
}

// Blocks, stages and clocks of a config whose columns, units, taps and box are set; below zero
// where it does not fit.
double complete(const Shape& shape, const Stage& stage, const Views& views, Config* c) {
  const int64_t input_bytes = stage.positions * c->columns * kElementBytes * parts_of_input(*c);
  const int64_t view_bytes =
      round_up(stage.view_rows * c->out_width * kElementBytes, kSwizzleAlign);
  const int64_t bytes = input_bytes + views.most * view_bytes;
  const int64_t table = stage.positions * int64_t{sizeof(int)};
  c->box = stage.box;
  c->positions = as_int(stage.positions);
  const int64_t raw = c->turns_input ? kRawBoxes * raw_parts(c->columns) * raw_part_bytes(*c) : 0;
  const int64_t stages = (kSharedBytes - kSwizzleAlign - kBarrierBytes - table - raw) / bytes;
  const int64_t loads =
      c->turns_input ? raw_parts(c->columns) : ceil_div(input_bytes / sm90::kLineBytes, kMaxSpan);
  if (stages < kMinStages || views.most + loads > kMaxBoxes) return -1;
  c->stages = as_int(std::min<int64_t>(stages, kMaxStages));
  c->stage_bytes = as_int(bytes);
  c->view_rows = as_int(view_bytes / (c->out_width * kElementBytes));
  c->max_views = views.most;
  c->halo = stage.halo;
  c->tiles = stage.tiles;
  c->all_tiles = stage.all_tiles;
  const int64_t jobs = int64_t{c->unit_jobs} * c->in_tiles;
  const int64_t work = jobs * c->all_tiles;
  if (work > kMaxWork || packed_input_bytes(*c) > kMaxPackedBytes) return -1;
  const int64_t chain = c->full
                            ? kMaxAdditions / (stage.positions / (2 * kStepPositions))
                            : sm90::max_chain(Precision::tf32) / (stage.positions / kStepPositions);
  c->chain = as_int(std::max<int64_t>(1, chain));

  const double box = box_clocks(*c, stage, views);
  const double packing =
      c->turns_input ? 0 : as_double(packed_input_bytes(*c)) * 2 / kPackBytesPerClock + kPackClocks;
  return halo_weight::cut_blocks(
      {box, as_double(piece_elements(*c)), kStartClocks, packing, shape.bytes,
       shape.bytes < kKeptBytes, shape.direct, shape.turn, shape.num_sms},
      c);
}

// Units and jobs; nothing where there is no such kernel.
std::optional<Views> cut_units(const Shape& shape, const Taps& taps, Config* c) {
  const Taps arranged = arrange(taps, *c);
  if (arranged.units == 0 || arranged.lanes.size() > kMaxLanes) return {};
  const int parts = as_int(ceil_div(shape.problem.out_channels, c->out_width));
  c->unit_jobs = as_int(ceil_div(int64_t{arranged.units} * parts, job_units(*c)));
  if (!c->runs) return halo_weight::count_views(arranged, lanes_of_unit(*c), parts, job_units(*c));
  // The first units of the runs have all views.
  Taps firsts = arranged;
  firsts.lanes.clear();
  const auto lanes = static_cast<size_t>(lanes_of_unit(*c)), units = static_cast<size_t>(c->units);
  for (size_t i = 0; i < arranged.lanes.size(); i += lanes * units) {
    const auto first = arranged.lanes.begin() + static_cast<std::ptrdiff_t>(i);
    firsts.lanes.insert(firsts.lanes.end(), first, first + static_cast<std::ptrdiff_t>(lanes));
  }
  firsts.units /= c->units;
  return halo_weight::count_views(firsts, lanes_of_unit(*c), parts, kWarpgroups);
}

Config search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  // Who turns rows of input does not split them.
  const bool full = description.precision == Precision::fp32;
  const bool rows =
      !full && description.input == Layout::ndhwc && p.in_channels * kElementBytes % 16 == 0;
  const Shape shape{
      p,
      device.num_sms,
      halo_weight::stores_directly(description),
      halo_weight::turn_clocks(description),
      rows,
      as_double(p.batch * kElementBytes) *
          as_double(p.in_channels * volume(p.input) + p.out_channels * volume(p.output()))};
  Config best;
  for (const std::array<bool, 3>& shared : halo_weight::share_choices(p)) {
    // A unit's taps may lie anywhere: each is a unit of make_taps.
    const Taps taps = halo_weight::make_taps(p, shared, 1);
    if (taps.views.size() > halo_weight::kMaxViews) continue;
    for (bool runs : {false, true}) {
      if (runs && !shared[2]) continue;
      const std::vector<Stage> stages = stages_of(p, taps.halo, runs);
      for (int columns : kColumnsBuilt) {
        if (columns / 2 >= p.in_channels && columns > kColumnsBuilt[0]) continue;
        if (runs && !has_runs(description.precision, columns, as_int(p.kernel[2]))) continue;
        const int most = runs ? as_int(p.kernel[2]) : most_units(description.precision, columns);
        for (int units = runs ? most : 1; units <= most; ++units) {
          for (int out_width : {32, 16}) {
            if (out_width > 16 && out_width / 2 >= p.out_channels) continue;
            Config c;
            c.full = full;
            c.columns = columns;
            c.units = units;
            c.runs = runs;
            c.out_width = out_width;
            c.shares = shared;
            c.in_tiles = as_int(ceil_div(p.in_channels, columns));
            const std::optional<Views> views = cut_units(shape, taps, &c);
            if (!views) continue;
            for (const Stage& stage : stages) {
              for (int turns = 0; turns <= (shape.rows ? 1 : 0); ++turns) {
                c.turns_input = turns == 1;
                const double clocks = complete(shape, stage, *views, &c);
                if (clocks < 0 || (best.units > 0 && clocks >= best.clocks)) continue;
                best = c;
                best.clocks = clocks;
              }
            }
          }
        }
      }
    }
  }
  best.turned = best.direct && halo_weight::needs_turning(description);
  best.packed_output = description.output != Layout::ndhwc || p.out_channels * kElementBytes % 16;
  return best;
}

}  // namespace

Taps arrange(const Taps& taps, const Config& c) {
  Taps result = taps;
  const int lanes = lanes_of_unit(c), run = c.runs ? c.units : 1;
  result.units = 0;
  if (taps.units % run != 0) return result;
  const int sets = taps.units / run, groups = as_int(ceil_div(sets, lanes));
  result.lanes.assign(static_cast<size_t>(groups) * run * lanes, {});
  for (int set = 0; set < sets; ++set) {
    for (int i = 0; i < run; ++i) {
      const halo_weight::Lane& first = taps.lanes[static_cast<size_t>(set) * run];
      const halo_weight::Lane& lane = taps.lanes[static_cast<size_t>(set) * run + i];
      const bool same = lane.view == first.view && lane.shift[0] == first.shift[0] &&
                        lane.shift[1] == first.shift[1];
      if (c.runs && (!same || lane.shift[2] != i)) return result;
      const int unit = set / lanes * run + i;
      result.lanes[static_cast<size_t>(unit) * lanes + set % lanes] = lane;
    }
  }
  result.units = groups * run;
  return result;
}

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

std::string to_string(const Config& c) {
  return std::to_string(job_units(c)) + " units of " + std::to_string(kUnitRows) + "x" +
         std::to_string(c.columns) + ", rows of " + std::to_string(c.out_width) + ", " +
         (c.runs ? "runs of " + std::to_string(c.units) + " taps, " : "") + joined(c.box) +
         " positions, halo " + joined(c.halo) + ", " + std::to_string(c.max_views) + " views, " +
         std::to_string(c.stages) + " stages of " + std::to_string(c.stage_bytes) + " bytes, " +
         std::to_string(c.unit_jobs * c.in_tiles) + " jobs of " + std::to_string(c.all_tiles) +
         " boxes on " + std::to_string(c.blocks) + " blocks" +
         (c.direct ? ", stored directly" : "") + (c.turned ? ", then turned" : "") +
         (c.turns_input ? ", input turned" : "") + (c.packed_output ? ", grad_output packed" : "");
}

int64_t pieces_bytes(const Config& c) {
  return round_up(pieces(c) * piece_elements(c) * int64_t{sizeof(float)}, kMapAlign);
}

int64_t raw_part_bytes(const Config& c) { return int64_t{c.positions} * kRawWidth * kElementBytes; }

int64_t packed_input_bytes(const Config& c) {
  if (c.turns_input) return 0;
  return c.in_tiles * c.all_tiles * c.positions * c.columns * int64_t{kElementBytes} *
         parts_of_input(c);
}

int64_t packed_output_bytes(const Description& description, const Config& c) {
  const Problem& p = description.problem;
  if (!c.packed_output) return 0;
  return p.batch * volume(p.output()) * round_up(p.out_channels, 16 / kElementBytes) *
         kElementBytes;
}

}  // namespace convt3d::cuda::view_weight
