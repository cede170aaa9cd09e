// SPDX-License-Identifier: BSD-3-Clause
// The search for a cut: of an estimate of clocks, the least.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cuda/common/grad_weight_cuts.h"
#include "cuda/common/kept_answer.h"
#include "cuda/halo_weight/blocks.h"
#include "cuda/halo_weight/config.h"
#include "cuda/halo_weight/taps.h"
#include "cuda/halo_weight/tuning.h"
#include "cuda/halo_weight/turned.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_weight {
namespace {

// Boxes of a line: whole lines, and strips of whole steps.
std::vector<int64_t> widths(int64_t extent) {
  std::vector<int64_t> found = cuts(extent, kMaxSpan, kMaxCuts);
  for (int64_t w : {16, 32, 48, 64, 128}) {
    if (w < extent && std::find(found.begin(), found.end(), w) == found.end()) found.push_back(w);
  }
  return found;
}

// Boxes of lines: one row of shared memory, as wide as a swizzle, of each.
std::vector<int64_t> line_widths(int64_t extent) {
  std::vector<int64_t> found;
  for (int64_t w : {64, 32, 16}) {
    if (w / 2 < extent || w == kDepth) found.push_back(w);
  }
  return found;
}

// What a box is in shared memory, with rows that run on along `flat` axes.
struct Stage {
  std::array<int, 4> box{}, input_box{};
  std::array<int, 3> halo{};
  int flat = 0;
  int64_t input_rows = 0, view_rows = 0;  // in shared memory
  int64_t input_loaded = 0, view_loaded = 0;
  int64_t steps = 0;
  std::array<int64_t, 4> tiles{};
  int64_t all_tiles = 1;
};

bool make_stage(const Problem& p, const std::array<int64_t, 4>& box, const std::array<int, 3>& halo,
                int flat, Stage* stage) {
  std::array<int64_t, 4> outer{box[0], 0, 0, 0}, inner = box;
  for (int a = 0; a < 3; ++a) outer[1 + a] = box[1 + a] + halo[a];
  for (int f = 0; f < flat; ++f) {
    const int a = 2 - f;
    // What lies behind the input's box must be zeros.
    if (halo[a] > 0 && box[1 + a] < p.input[a]) return false;
    inner[1 + a] = outer[1 + a];
  }
  const int64_t span_limit = kMaxSpan;
  for (int a = 0; a < 3; ++a) {
    if ((outer[1 + a] - 1) * p.stride[a] + 1 > span_limit) return false;
  }
  // Rows that run on, and how often they do.
  int64_t run = 1, runs = 1;
  for (int a = 3; a >= 0; --a) (3 - a <= flat ? run : runs) *= inner[a];
  if (runs > 1 && run % kDepth != 0) return false;
  const int64_t pitch_h = outer[3], pitch_d = outer[2] * pitch_h, pitch_n = outer[1] * pitch_d;
  const std::array<int64_t, 4> pitch{pitch_n, pitch_d, pitch_h, 1};
  int64_t last = round_up(run, kDepth) - 1;
  for (int a = 0; a < 3 - flat; ++a) last += (inner[a] - 1) * pitch[a];
  for (int a = 0; a < 3; ++a) last += halo[a] * pitch[1 + a];
  stage->input_loaded = run * runs;
  stage->view_loaded = box[0] * pitch_n;
  stage->input_rows = round_up(stage->input_loaded, kDepth);
  // Lanes that are absent read up to twice the halo of a line further.
  stage->view_rows = std::max(stage->view_loaded, last + 1 + 2 * halo[2]);
  stage->steps = stage->input_rows / kDepth;
  stage->flat = flat;
  stage->halo = halo;
  stage->all_tiles = stage->tiles[0] = ceil_div(p.batch, box[0]);
  for (int i = 0; i < 4; ++i) {
    stage->box[i] = static_cast<int>(box[i]);
    stage->input_box[i] = static_cast<int>(inner[i]);
    if (i == 0) continue;
    stage->tiles[i] = ceil_div(p.input[i - 1], box[i]);
    stage->all_tiles *= stage->tiles[i];
  }
  return stage->input_rows <= kMaxRows;
}

std::vector<Stage> stages_of(const Problem& p, const std::array<int, 3>& halo, bool lines) {
  std::vector<Stage> found;
  for (int64_t w : lines ? line_widths(p.input[2]) : widths(p.input[2])) {
    for (int64_t h : cuts(p.input[1], std::max<int64_t>(1, kMaxRows / w), kMaxCuts)) {
      for (int64_t d : cuts(p.input[0], std::max<int64_t>(1, kMaxRows / (w * h)), kMaxCuts)) {
        const bool whole = w == p.input[2] && h == p.input[1] && d == p.input[0];
        for (int64_t n = 1; n <= (whole ? std::min<int64_t>(p.batch, kMaxSpan) : 1); n *= 2) {
          if (n * d * h * w > kMaxRows) break;
          // The more axes run on, the fewer boundaries; without a halo all do, at no cost.
          const bool free = halo[0] + halo[1] + halo[2] == 0;
          for (int flat = free && !lines ? 3 : 0; flat <= (lines ? 0 : 3); ++flat) {
            Stage stage;
            if (make_stage(p, {n, d, h, w}, halo, flat, &stage)) found.push_back(stage);
          }
        }
      }
    }
  }
  return found;
}

struct Shape {
  const Problem& problem;
  int64_t num_sms, chain;
  bool direct;   // blocks may store the weight
  double turn;   // clocks of the launch that then follows
  double pack;   // clocks of that which turns input into rows of channels
  double bytes;  // of input and grad_output
};

// Blocks, stages and clocks of a config whose columns, units, taps and box are set; below zero
// where it does not fit.
double complete(const Shape& shape, const Stage& stage, const Views& views, Config* c) {
  if (c->lines) c->in_width = stage.box[3];
  const int64_t in_row = c->in_width * kElementBytes, out_row = c->out_width * kElementBytes;
  const auto in_rows = [&](int64_t positions) {
    return c->lines ? positions / c->in_width * c->channels : positions;
  };
  const int64_t part_bytes = round_up(in_rows(stage.input_rows) * in_row, kSwizzleAlign);
  const int64_t view_bytes = round_up(stage.view_rows * out_row, kSwizzleAlign);
  const int64_t bytes = c->in_parts * part_bytes + views.most * view_bytes;
  const int64_t stages = (kSharedBytes - kSwizzleAlign - kBarrierBytes) / bytes;
  if (stages < kMinStages || views.most + c->in_parts > kMaxBoxes) return -1;
  c->stages = static_cast<int>(std::min<int64_t>(stages, kMaxStages));
  c->stage_bytes = static_cast<int>(bytes);
  c->input_rows = static_cast<int>(part_bytes / in_row);
  c->view_rows = static_cast<int>(view_bytes / out_row);
  c->max_views = views.most;
  c->box = stage.box;
  c->input_box = stage.input_box;
  c->halo = stage.halo;
  c->flat = stage.flat;
  c->tiles = stage.tiles;
  c->all_tiles = stage.all_tiles;
  const int64_t jobs = int64_t{c->unit_jobs} * c->in_tiles;
  const int64_t work = jobs * c->all_tiles;
  if (work > kMaxWork) return -1;
  c->chain = static_cast<int>(std::max<int64_t>(1, shape.chain / stage.steps));

  const double step = std::max(c->channels / 2.0, (16 + c->channels / 4.0) * kSharedClocks);
  const double multiply =
      static_cast<double>(stage.steps * c->warpgroups * c->units) * (step + kIssueClocks) +
      kStageClocks + (c->warpgroups == 1 ? kLoneClocks : 0);
  const auto row_clocks = [](int64_t bytes) {
    return kRowClocks + kRowByteClocks * static_cast<double>(bytes);
  };
  const double load =
      static_cast<double>(c->in_parts * in_rows(stage.input_loaded)) * row_clocks(in_row) +
      views.mean * static_cast<double>(stage.view_loaded) * row_clocks(out_row);
  const double box = std::max(multiply, load) + (c->stages == 2 ? std::min(multiply, load) / 8 : 0);
  return cut_blocks(
      {box, static_cast<double>(piece_elements(*c)), kStartClocks, c->lines ? 0 : shape.pack,
       shape.bytes, shape.bytes < kKeptBytes, shape.direct, shape.turn, shape.num_sms},
      c);
}

Config search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const double positions = static_cast<double>(p.batch * volume(p.input));
  const auto roots = static_cast<int64_t>(kChainRoots * std::sqrt(positions));
  const Shape shape{p,
                    device.num_sms,
                    std::clamp(roots, kMinChain, kMaxChain),
                    stores_directly(description),
                    turn_clocks(description),
                    pack_clocks(description),
                    static_cast<double>(p.batch * kElementBytes) *
                        static_cast<double>(p.in_channels * volume(p.input) +
                                            p.out_channels * volume(p.output()))};
  Config best;
  for (const std::array<bool, 3>& shared : share_choices(p)) {
    std::vector<Stage> rows, lines;
    for (int out_width : {64, 32, 16}) {
      // Narrower rows where they hold as many channels.
      if (out_width > 16 && out_width / 2 >= p.out_channels) continue;
      const int lanes = kGroupRows / out_width;
      const Taps taps = make_taps(p, shared, lanes);
      if (taps.lanes.size() > kMaxLanes || taps.views.size() > kMaxViews) continue;
      if (rows.empty()) rows = stages_of(p, taps.halo, false);
      if (lines.empty() && has_lines(description)) lines = stages_of(p, taps.halo, true);
      const int out_parts = static_cast<int>(ceil_div(p.out_channels, out_width));
      for (const Columns& columns : kBuilt) {
        const int smaller = columns.channels <= 64 ? columns.channels - 16 : columns.channels - 64;
        if (columns.channels > 16 && smaller >= p.in_channels) continue;
        const int most = max_warpgroups(columns.channels, columns.units);
        for (int groups = 1; groups <= most; ++groups) {
          const int of_job = columns.units * groups, all = taps.units * out_parts;
          if (groups > 1 && of_job - columns.units >= all) continue;
          Config c;
          c.channels = columns.channels;
          c.units = columns.units;
          c.warpgroups = groups;
          c.in_width = columns.channels <= 32 ? columns.channels : 64;
          c.out_width = out_width;
          c.in_parts = static_cast<int>(ceil_div(columns.channels, 64));
          c.shares = shared;
          c.unit_jobs = static_cast<int>(ceil_div(all, of_job));
          c.in_tiles = static_cast<int>(ceil_div(p.in_channels, columns.channels));
          const Views views = count_views(taps, lanes, out_parts, of_job);
          const auto look_at = [&](const std::vector<Stage>& stages) {
            for (const Stage& stage : stages) {
              const double clocks = complete(shape, stage, views, &c);
              if (clocks < 0 || (best.units > 0 && clocks >= best.clocks)) continue;
              best = c;
              best.clocks = clocks;
            }
          };
          look_at(rows);
          if (!columns_of_lines(columns)) continue;
          c.lines = true;
          c.in_parts = 1;
          look_at(lines);
        }
      }
    }
  }
  best.turned = best.direct && needs_turning(description);
  best.packed_input = !best.lines && needs_packing(description.input, p.in_channels);
  best.packed_output = needs_packing(description.output, p.out_channels);
  return best;
}

}  // namespace

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

std::string to_string(const Config& c) {
  return std::to_string(c.warpgroups) + " x " + std::to_string(c.units) + " units of " +
         std::to_string(kGroupRows) + "x" + std::to_string(c.channels) + ", rows of " +
         std::to_string(c.out_width) + (c.lines ? ", lines of input, " : ", ") + joined(c.box) +
         " positions, halo " + joined(c.halo) + ", " + std::to_string(c.flat) + " axes flat, " +
         std::to_string(c.max_views) + " views, " + std::to_string(c.stages) + " stages of " +
         std::to_string(c.stage_bytes) + " bytes, " + std::to_string(c.unit_jobs * c.in_tiles) +
         " jobs of " + std::to_string(c.all_tiles) + " boxes on " + std::to_string(c.blocks) +
         " blocks" + (c.direct ? ", stored directly" : "") + (c.turned ? ", then turned" : "") +
         (c.packed_input ? ", input packed" : "") + (c.packed_output ? ", grad_output packed" : "");
}

}  // namespace convt3d::cuda::halo_weight
