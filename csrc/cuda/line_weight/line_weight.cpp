// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/line_weight/line_weight.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "cuda/common/kept_answer.h"
#include "cuda/halo_weight/halo_weight.h"
#include "cuda/line_weight/config.h"
#include "cuda/line_weight/gather_config.h"
#include "cuda/line_weight/gather_tuning.h"
#include "cuda/line_weight/pick_config.h"
#include "cuda/line_weight/shift_config.h"
#include "cuda/line_weight/tuning.h"
#include "cuda/view_weight/view_weight.h"
#include "cuda/weight_gemm/weight_gemm.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::line_weight {
namespace {

// The remainder that is not negative.
int64_t modulo(int64_t value, int64_t step) { return (value % step + step) % step; }

// Of input and grad_output.
double bytes_of(const Problem& p) {
  return 2.0 * as_double(p.batch) *
         (as_double(p.in_channels * volume(p.input)) +
          as_double(p.out_channels * volume(p.output())));
}

// Clocks of halo_weight, which turns both tensors into rows of channels: reads and writes them, and
// reads the rows. Of all layers measured it takes 0.8 to 1.4 times as long.
double row_clocks(const Problem& p, const Device& device) {
  const double products = as_double(p.batch * volume(p.input) * p.in_channels) *
                          as_double(p.out_channels * volume(p.kernel));
  return kRowStartClocks + 3 * bytes_of(p) / kMemoryBytesPerClock +
         products / (kRowProducts * device.num_sms);
}

// Whether tiles of this stride and so many taps see a line start where they expect it.
bool fits(const Tile& tile, const Problem& p) {
  const bool even =
      p.output()[2] % 2 == 0 && modulo(-p.padding[2], 4) == lead_of(tile.stride, tile.taps);
  return tile.stride == p.stride[2] && tile.taps == p.kernel[2] && tile.odd != even;
}

// Elements of a copy: what divides a line, and the distance of the boxes' lines.
int piece_of(int64_t extent, int64_t step) {
  int piece = kMaxElements;
  while (extent % piece != 0 || step % piece != 0) piece /= 2;
  return piece;
}

// Box, pieces and pitches of a config whose tile is set; false if shared memory does not hold them.
bool place(const Problem& p, Config* c) {
  const Extent3 output = p.output();
  const int64_t width = p.input[2];
  c->box = {1, 1, as_int(width)};
  if (width > kPositions) {
    c->box[2] = as_int(round_up(ceil_div(width, ceil_div(width, kPositions)), kMaxElements));
  }
  c->input_pitch = as_int(round_up(c->box[2], 2));
  const int64_t lines = kPositions / c->input_pitch;
  int64_t least = 0;
  if (width <= kPositions) {
    for (int64_t h = std::min(lines, p.input[1]); h >= 1; --h) {
      const int64_t d = std::min(lines / h, p.input[0]);
      const int64_t boxes = ceil_div(p.input[0], d) * ceil_div(p.input[1], h);
      if (least != 0 && boxes >= least) continue;
      least = boxes;
      c->box[0] = as_int(d);
      c->box[1] = as_int(h);
    }
  }
  c->tiles[0] = c->all_tiles = p.batch;
  for (size_t axis = 0; axis < 3; ++axis) {
    c->tiles[1 + axis] = ceil_div(p.input[axis], c->box[axis]);
    c->all_tiles *= c->tiles[1 + axis];
  }
  const bool many = c->tiles[3] > 1;
  c->input_piece = piece_of(width, many ? c->box[2] : 0);
  // A box's lines start at multiples of a piece in shared memory.
  while (c->input_pitch % c->input_piece != 0) c->input_piece /= 2;
  c->output_piece = piece_of(output[2], many ? c->tile.stride * c->box[2] : 0);
  c->lead = as_int(modulo(-p.padding[2], std::max(c->output_piece, 4)));
  if (c->tile.odd) {
    c->output_piece = kWordElements;
    c->lead = 0;
  }
  const int64_t read =
      (c->lead & ~1) + c->tile.stride * (c->input_pitch - 2) + elements_read(c->tile);
  c->output_pitch = as_int(round_up(std::max<int64_t>(line_elements(*c), read), kLineAlign));
  const int box_lines = c->box[0] * c->box[1];
  if (c->tile.odd && box_lines * c->tile.lines() > kMaxOddLines) return false;
  // Rows whose words of eight neighbours lie in different banks.
  int64_t words = (box_lines * c->output_pitch + (has_holes(*c) ? kZeros : 0)) / 2;
  const int64_t banks = 8 * c->tile.stride, wanted = 4 * c->tile.stride;
  words += modulo(wanted - words, banks);
  c->row_bytes = as_int(4 * words);
  c->stage_bytes = as_int(
      round_up(c->tile.columns * kColumnBytes + c->tile.lines() * c->row_bytes, kStageAlign));
  c->stages =
      as_int(std::min<int64_t>(stages_of(p, *c, c->input_piece, c->output_piece), kMaxStages));
  // Where tensors turn out not to be aligned, copies are of two bytes.
  return stages_of(p, *c, 1, c->tile.odd ? kWordElements : 1) >= kMinStages;
}

// Blocks, splits and clocks of a config whose box is placed.
void cut(const Problem& p, const Device& device, Config* c) {
  const Tile& tile = c->tile;
  c->lines = p.out_channels * p.kernel[0] * p.kernel[1];
  c->line_tiles = ceil_div(c->lines, tile.lines());
  c->column_tiles = ceil_div(p.in_channels, tile.columns);
  c->jobs = c->line_tiles * c->column_tiles;
  const double positions = as_double(p.batch * volume(p.input));
  const auto chain = static_cast<int64_t>(kChainRoots * std::sqrt(positions));
  c->chain = as_int(std::clamp(chain, kMinChain, kMaxChain) * 16 / kPositions);

  const double lines = as_double(c->lines) / as_double(c->line_tiles);
  const double columns = as_double(p.in_channels) / as_double(c->column_tiles);
  const double elements = c->box[0] * c->box[1] * line_elements(*c);
  const double load = 2 * (lines * elements + columns * kPositions) / kLoadBytesPerClock;
  const auto copy_clocks = [](int piece) {
    return (piece == kMaxElements ? kCopyClocks : kSmallCopyClocks) / (32 * piece);
  };
  const double copies = lines * elements * copy_clocks(c->output_piece) +
                        columns * kPositions * copy_clocks(c->input_piece);
  // Two warpgroups' instructions of a stage.
  const double multiply = 2.0 * (kPositions / 16) * tile.slabs() * tile.columns / 2;
  const double stage = std::max({load, copies, multiply + kTileClocks});
  const double memory = bytes_of(p) / kMemoryBytesPerClock;
  const int64_t most =
      std::clamp<int64_t>(kMaxPartialBytes / (sum_bytes(tile) * c->jobs), 1, c->all_tiles);
  c->splits = 0;
  const auto consider = [&](int64_t splits, bool clustered) {
    const double rounds = as_double(ceil_div(c->jobs * splits, device.num_sms));
    double clocks = rounds * (as_double(ceil_div(c->all_tiles, splits)) * stage + kStartClocks);
    clocks = std::max(clocks, memory + kStartClocks);
    if (clustered) {
      clocks += kClusterClocks;
    } else if (splits > 1) {
      clocks +=
          kReduceClocks + 2 * as_double(splits * c->jobs * sum_bytes(tile)) / kReduceBytesPerClock;
    }
    if (c->splits != 0 && clocks >= c->clocks) return;
    c->splits = splits;
    c->clustered = clustered;
    c->clocks = clocks;
  };
  for (int64_t waves = 1; waves <= 4; ++waves) {
    consider(std::clamp<int64_t>(waves * device.num_sms / c->jobs, 1, most), false);
  }
  consider(1, false);
  // A cluster's blocks lie in one GPC, and leave their sums where the stages were.
  const int64_t stages = stages_of(p, *c, 1, c->tile.odd ? kWordElements : 1);
  if (stages * c->stage_bytes < sum_bytes(tile)) return;
  for (int64_t blocks = 2; blocks <= std::min<int64_t>(kMaxCluster, c->all_tiles); blocks *= 2) {
    const bool placed = c->jobs * blocks <= kMaxClustered * device.num_sms / kTunedSms;
    if (placed && ceil_div(c->all_tiles, blocks) <= c->chain) consider(blocks, true);
  }
}

Config search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  Config best{};
  for (const Tile& tile : kTiles) {
    Config c{};
    c.tile = tile;
    if (!fits(tile, p) || !place(p, &c)) continue;
    cut(p, device, &c);
    if (best.stages == 0 || c.clocks < best.clocks) best = c;
  }
  return best;
}

}  // namespace

int64_t stages_of(const Problem& p, const Config& c, int input_piece, int output_piece) {
  const int64_t lines =
      std::min<int64_t>(p.out_channels * p.kernel[0] * p.kernel[1], c.tile.lines());
  const int64_t columns = std::min<int64_t>(p.in_channels, c.tile.columns);
  const int64_t box_lines = c.box[0] * c.box[1];
  const int64_t slots =
      slots_of(as_int(lines * box_lines * ceil_div(line_elements(c), output_piece)), output_piece) +
      slots_of(as_int(columns * box_lines * ceil_div(c.box[2], input_piece)), input_piece);
  return (kMaxShared - kSlotBytes * slots) / c.stage_bytes;
}

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != kArch) return Verdict::refuse("its instructions are those of sm_90");
  if (description.direction != Direction::grad_weight) return Verdict::refuse("grad_weight only");
  const bool tf32 = description.precision == Precision::tf32;
  if (element_bytes(description.precision) != 2 && !tf32) {
    return Verdict::refuse("float16, bfloat16 and TF32 only");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  if (p.in_channels < kMinColumns) return Verdict::refuse("fewer than 16 in channels");
  const Extent3 output = p.output();
  if (p.batch < 1 || p.batch > kMaxExtent) return Verdict::refuse("an empty or very large batch");
  for (size_t axis = 0; axis < 3; ++axis) {
    if (std::max(p.input[axis], output[axis]) > kMaxExtent ||
        p.dilation[axis] * p.kernel[axis] + p.padding[axis] > kMaxReach ||
        p.stride[axis] > kMaxReach / kPositions) {
      return Verdict::refuse("larger than its coordinates hold");
    }
  }
  const double in = as_double(volume(p.input)), out = as_double(volume(output));
  const double weights = as_double(p.in_channels) * as_double(p.out_channels * volume(p.kernel));
  if (in * as_double(p.in_channels) > as_double(kMaxSample) ||
      out * as_double(p.out_channels) > as_double(kMaxSample) ||
      in * as_double(p.batch) > as_double(kMaxWork) || weights > as_double(kMaxWork)) {
    return Verdict::refuse("more elements in a sample than 32-bit offsets reach");
  }
  if (choose_picks(description, device).splits > 0) return Verdict::accept();
  if (description.input != Layout::ncdhw || description.output != Layout::ncdhw) {
    return Verdict::refuse("input and grad_output in NCDHW only");
  }
  // An input that TMA cannot load is weight_gemm's.
  const bool falls_back = weight_gemm::supports(description, device).ok;
  if (falls_back && (shifts(description, device) || gathers(description, device))) {
    return Verdict::accept();
  }
  if (tf32) return Verdict::refuse("TF32 of lines that are not gathered");
  const bool built = std::any_of(std::begin(kTiles), std::end(kTiles),
                                 [&](const Tile& tile) { return fits(tile, p); });
  if (!built || (p.dilation[2] > 1 && p.kernel[2] > 1)) {
    return Verdict::refuse("stride, kernel and padding along w that no tile is built for");
  }
  const Config c = choose(description, device);
  if (c.stages == 0) return Verdict::refuse("lines too long for its tables");
  if (in * as_double(p.batch) < kLeastFull * as_double(c.all_tiles * kPositions)) {
    return Verdict::refuse("lines of so few positions that most of a product would be zeros");
  }
  const int64_t fewest = std::min(p.in_channels, p.out_channels);
  const bool few =
      fewest < kFewest || (fewest <= kFew && p.in_channels * p.out_channels <= kFewPairs);
  if (!few && c.clocks > row_clocks(p, device)) {
    return Verdict::refuse("rows of channels are estimated to be faster");
  }
  return Verdict::accept();
}

bool shifts(const Description& description, const Device& device) {
  const ShiftConfig shifted = choose_shifts(description, device);
  const bool tf32 = description.precision == Precision::tf32;
  if (shifted.stages == 0 || (!tf32 && shifted.jobs > shift_most_jobs(shifted.tile.stride))) {
    return false;
  }
  const double clocks = kShiftMeasured * shifted.clocks + kShiftMargin;
  if (tf32 && view_weight::supports(description, device).ok) {
    return clocks < view_weight::clocks(description, device);
  }
  if (!tf32 && halo_weight::supports(description, device).ok) {
    return clocks < halo_weight::clocks(description, device);
  }
  // tap_gemm or few_channels have it, whose starts are short.
  const bool full = !tf32 || shifted.flat || shifted.full > kTapFull;
  return full && shifted.clocks > kShiftLeastClocks;
}

bool gathers(const Description& description, const Device& device) {
  const GatherConfig gathered = choose_gather(description, device);
  if (gathered.stages == 0) return false;
  const double rows = row_clocks(description.problem, device);
  if (description.precision == Precision::tf32) {
    if (gathered.odd) return gathered.clocks < 2 * kViewShare * rows;
    return gathered.full > kTapFull && gathered.clocks < 2 * kTapShare * rows;
  }
  const Config c = choose(description, device);
  return gathered.clocks < kRowShare * rows && (c.stages == 0 || gathered.clocks < c.clocks);
}

std::string config(const Description& description, const Device& device) {
  const PickConfig picks = choose_picks(description, device);
  if (picks.splits > 0) return to_string(picks);
  if (shifts(description, device)) return to_string(choose_shifts(description, device));
  if (gathers(description, device)) return to_string(choose_gather(description, device));
  return to_string(choose(description, device));
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const PickConfig picks = choose_picks(description, device);
  if (picks.splits > 0) {
    return std::max(pick_partial_bytes(picks), pick_fallback_bytes(description, device));
  }
  const bool shifted = shifts(description, device);
  if (!shifted && !gathers(description, device)) return partial_bytes(choose(description, device));
  return std::max(shifted ? partial_bytes(choose_shifts(description, device))
                          : partial_bytes(choose_gather(description, device)),
                  weight_gemm::workspace_bytes(description, device));
}

std::string to_string(const Config& c) {
  return std::to_string(c.tile.lines()) + " lines x " + std::to_string(c.tile.taps) + " taps x " +
         std::to_string(c.tile.columns) + " columns, " + std::to_string(c.box[0]) + 'x' +
         std::to_string(c.box[1]) + 'x' + std::to_string(c.box[2]) + " positions, copies of " +
         std::to_string(2 * c.output_piece) + " and " + std::to_string(2 * c.input_piece) +
         " bytes, " + std::to_string(c.stages) + " stages, " + std::to_string(c.jobs) + " jobs, " +
         std::to_string(c.splits) + " splits" + (c.clustered ? " in clusters" : "");
}

}  // namespace convt3d::cuda::line_weight
