// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/tap_gemm/tap_gemm.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "cuda/common/grad_weight_cuts.h"
#include "cuda/common/kept_answer.h"
#include "cuda/few_channels/few_channels.h"
#include "cuda/sm90/chain.h"
#include "cuda/tap_gemm/config.h"
#include "cuda/tap_gemm/shape.h"
#include "cuda/tap_gemm/tile.h"
#include "cuda/tap_gemm/tuning.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::tap_gemm {
namespace {

Shape make_shape(const Description& description, const Device& device, bool aligned) {
  const Problem& p = description.problem;
  const bool planes = description.output != Layout::ndhwc;
  // What is contiguous, and so starts at multiples of it.
  const int64_t contiguous = planes ? p.output()[2] : p.out_channels_per_group();
  int piece = description.output == Layout::strided ? 1 : kMaxPiece;
  while (contiguous % piece != 0) piece /= 2;
  // TMA wants strides of 16 bytes; it rounds, but does not split.
  const bool as_it_lies = aligned && description.input == Layout::ncdhw && p.groups == 1 &&
                          description.precision == Precision::tf32 && planes;
  return {p,
          description.precision == Precision::fp32,
          planes,
          as_it_lies && p.input[2] % kMaxPiece == 0,
          as_it_lies && volume(p.input) % kMaxPiece == 0,
          aligned && description.output == Layout::ncdhw && p.output()[2] % kMaxPiece == 0,
          piece,
          p.in_channels_per_group(),
          p.out_channels_per_group(),
          p.in_channels * p.out_channels_per_group() * volume(p.kernel),
          device.num_sms,
          {halo_steps(p, 0, planes), halo_steps(p, 1, planes), halo_steps(p, 2, planes)}};
}

// Whether input's boxes are lines as they lie in memory.
bool input_fits(const Shape& shape, const Config& config) {
  const Problem& p = shape.problem;
  const auto& box = config.box;
  if (config.input == Input::packed) return true;
  if (config.input == Input::lines) return shape.lines && box[3] % kChunk == 0;
  // Boxes that follow each other, of whole lines or planes, or the volume.
  if (!shape.flat || box[0] > 1 || box[3] != p.input[2]) return false;
  if (box[2] == p.input[1] && box[1] == p.input[0]) return true;
  if (box[2] < p.input[1] && box[1] > 1) return false;
  return p.input[1] % box[2] == 0 && p.input[0] % box[1] == 0 &&
         int64_t{box[1]} * box[2] * box[3] % kChunk == 0;
}

// The halo, stages and splits of a config whose columns, taps and box are set; clocks of the whole,
// or nothing where it does not fit.
std::optional<double> complete(const Shape& shape, Config* config) {
  const Problem& p = shape.problem;
  if (!input_fits(shape, *config)) return {};
  int64_t positions = config->box[0];
  config->all_tiles = config->tiles[0] = ceil_div(p.batch, config->box[0]);
  for (int axis = 0; axis < 3; ++axis) {
    positions *= config->box[1 + axis];
    config->tiles[1 + axis] = ceil_div(p.input[axis], config->box[1 + axis]);
    config->all_tiles *= config->tiles[1 + axis];
  }
  config->positions = as_int(ceil_div(positions, kChunk) * kChunk);
  if (!place_halo(shape, config)) return {};

  // A step of 8 positions of a warpgroup's slab: wgmma, its reading of B, the gathering of A.
  const double steps = kConsumerGroups * config->slabs * (config->positions / 8);
  const double products = shape.full ? 3 : 1;
  const double multiply = steps * products * config->columns / 2;
  const double shared = steps * (products * config->columns / 4 + 16 * config->conflicts + 8);
  const double compute = std::max(multiply, shared) + 0.2 * std::min(multiply, shared);
  const double places =
      as_double(int64_t{config->box[0]} * config->halo[0] * config->halo[1] * config->halo[2]);
  const double halo = places * config->channels;
  const double input_load = config->packed_bytes * (config->input == Input::packed ? 1 : kAsItLies);
  const double lines = shape.planes ? places / config->halo[2] * config->channels : 0;
  const double load = (input_load + 4 * halo) / kLoadBytesPerClock + lines * kLineClocks;
  const double copies = config->boxes ? 0 : halo / config->piece / 32 * kPieceClocks;
  double tile = std::max(compute, std::max(load, copies)) + kTileClocks;
  if (config->stages == kMinStages) tile += 0.3 * std::min(compute, load);

  const int64_t all_rows =
      config->group_rows * config->tap_groups[0] * config->tap_groups[1] * config->tap_groups[2];
  const int64_t copy = 4 * p.in_channels * all_rows;  // bytes of sums of one split
  const int64_t most = std::clamp<int64_t>(kMaxPartialBytes / copy, 1, config->all_tiles);
  const int64_t chain_tiles =
      std::max<int64_t>(1, sm90::max_chain(Precision::tf32) / (config->positions / 8));
  const double sms = as_double(shape.num_sms);
  const double packing = config->input != Input::packed
                             ? 0
                             : as_double(config->all_tiles * config->column_tiles * p.groups) *
                                       config->packed_bytes * 1.5 / (kMemoryBytesPerClock * sms) +
                                   kPackClocks;
  std::optional<double> best;
  for (int64_t waves = 1; waves <= 4; ++waves) {
    const int64_t splits = std::clamp<int64_t>(waves * shape.num_sms / config->jobs, 1, most);
    const double rounds = as_double(ceil_div(config->jobs * splits, shape.num_sms));
    const int64_t tiles = ceil_div(config->all_tiles, splits);
    const bool flushes = !shape.full && tiles > chain_tiles;
    double clocks = rounds * (as_double(tiles) * tile + kBlockClocks) + packing;
    if (splits > 1 || flushes) {
      clocks += 2 * as_double(splits * copy) / (kMemoryBytesPerClock * sms) + kLaunchClocks;
    }
    if (best && clocks >= *best) continue;
    best = clocks;
    config->splits = splits;
    config->flush_tiles = flushes ? chain_tiles : 0;
  }
  return best;
}

// Boxes of positions; with `lines`, also of whole lines of 32.
std::vector<std::array<int, 4>> boxes(const Problem& p, bool lines) {
  struct Box {
    std::array<int, 4> box;
    double full;  // share of the tiles' positions that there are
  };
  std::vector<Box> found;
  double best = 0;
  const int64_t all = volume(p.input);
  std::vector<int64_t> widths = cuts(p.input[2], kMaxPositions, kMaxCuts);
  for (int64_t w = kChunk; lines && w < std::min(p.input[2] + kChunk, kMaxPositions); w += kChunk) {
    if (std::find(widths.begin(), widths.end(), w) == widths.end()) widths.push_back(w);
  }
  for (int64_t w : widths) {
    for (int64_t h : cuts(p.input[1], std::max<int64_t>(1, kMaxPositions / w), kMaxCuts)) {
      for (int64_t d : cuts(p.input[0], std::max<int64_t>(1, kMaxPositions / (w * h)), kMaxCuts)) {
        const bool whole = w * h * d == all;
        for (int64_t n = 1; n <= (whole ? p.batch : 1) && n * d * h * w <= kMaxPositions &&
                            n < int64_t{1} << kBitsN;
             ++n) {
          const int64_t tiles = ceil_div(p.batch, n) * ceil_div(p.input[0], d) *
                                ceil_div(p.input[1], h) * ceil_div(p.input[2], w);
          const double full = as_double(p.batch * all) /
                              as_double(tiles * ceil_div(n * d * h * w, kChunk) * kChunk);
          best = std::max(best, full);
          found.push_back({{as_int(n), as_int(d), as_int(h), as_int(w)}, full});
        }
      }
    }
  }
  constexpr double kLeastFull = 0.8;
  std::vector<std::array<int, 4>> result;
  for (const Box& box : found) {
    if (box.full >= kLeastFull * best) result.push_back(box.box);
  }
  return result;
}

struct Choice {
  Config config{};
  double clocks = 0;
  bool found = false;
};

// Cuts of channels and taps. Taps are cut on d first, then on h, then on w.
std::vector<Config> channel_cuts(const Shape& shape, Precision precision) {
  const Problem& p = shape.problem;
  std::vector<std::array<int64_t, 3>> tap_cuts;
  for (int64_t d : cuts(p.kernel[0], p.kernel[0], kMaxCuts))
    tap_cuts.push_back({d, p.kernel[1], p.kernel[2]});
  for (int64_t h : cuts(p.kernel[1], p.kernel[1], kMaxCuts))
    tap_cuts.push_back({1, h, p.kernel[2]});
  for (int64_t w : cuts(p.kernel[2], p.kernel[2], kMaxCuts)) tap_cuts.push_back({1, 1, w});
  std::vector<Config> found;
  for (int columns : kColumnsBuilt) {
    for (int slabs = 1; slabs <= most_slabs(precision, columns); ++slabs) {
      for (const auto& taps : tap_cuts) {
        Config config{};
        config.columns = columns;
        config.slabs = slabs;
        config.planes = shape.planes;
        config.column_tiles = ceil_div(shape.ins, columns);
        config.width = as_int(shape.planes ? 1 : std::min<int64_t>(8, shape.outs));
        config.blocks_of_width = ceil_div(shape.outs, config.width);
        config.jobs = p.groups * config.column_tiles;
        int64_t width_rows = config.width;
        for (int axis = 0; axis < 3; ++axis) {
          config.taps[axis] = as_int(taps[axis]);
          config.tap_groups[axis] = ceil_div(p.kernel[axis], taps[axis]);
          config.jobs *= config.tap_groups[axis];
          width_rows *= taps[axis];
        }
        config.group_rows = config.blocks_of_width * width_rows;
        config.row_tiles = ceil_div(config.group_rows, 64 * kConsumerGroups * slabs);
        config.block_rows = as_int(ceil_div(config.group_rows, config.row_tiles));
        config.jobs *= config.row_tiles;
        const int64_t touched = config.block_rows % width_rows == 0
                                    ? config.block_rows / width_rows
                                    : (config.block_rows - 2 + width_rows) / width_rows + 1;
        config.channels = as_int(std::min(touched, config.blocks_of_width) * config.width);
        found.push_back(config);
      }
    }
  }
  return found;
}

Choice search(const Description& description, const Device& device, bool aligned) {
  const Shape shape = make_shape(description, device, aligned);
  std::vector<Config> all = channel_cuts(shape, description.precision);
  // Boxes are tried for the cuts that multiply and load least: clocks of a position, of all blocks.
  const auto least = [&](const Config& c) {
    const double multiply = kConsumerGroups * c.slabs * std::max(c.columns / 16.0, 4.0);
    return as_double(c.jobs) * (multiply + (c.columns + c.channels) * 4 / kLoadBytesPerClock);
  };
  std::sort(all.begin(), all.end(),
            [&](const Config& a, const Config& b) { return least(a) < least(b); });
  constexpr size_t kTried = 20;
  const auto tried = boxes(shape.problem, shape.lines);
  Choice best;
  for (size_t i = 0; i < all.size() && (i < kTried || !best.found); ++i) {
    for (const auto& box : tried) {
      for (Input input : {Input::packed, Input::lines, Input::flat}) {
        for (bool comes_by_tma : {true, false}) {
          if (comes_by_tma && !shape.boxes) continue;
          Config config = all[i];
          config.box = box;
          config.input = input;
          config.boxes = comes_by_tma;
          const std::optional<double> clocks = complete(shape, &config);
          if (clocks && (!best.found || *clocks < best.clocks)) best = {config, *clocks, true};
          if (clocks) break;
        }
      }
    }
  }
  return best;
}

}  // namespace

AxisSteps halo_steps(const Problem& p, int axis, bool planes) {
  // Lines of planes are loaded whole.
  if (planes && axis == 2) return {1, p.stride[axis], p.dilation[axis]};
  return axis_steps(p, axis);
}

Config choose(const Description& description, const Device& device, bool aligned, bool* found) {
  const Choice choice =
      aligned
          ? kept_answer(description, device, [&] { return search(description, device, true); })
          : kept_answer(description, device, [&] { return search(description, device, false); });
  *found = choice.found;
  return choice.config;
}

int64_t packed_input_bytes(const Config& config, int64_t groups) {
  if (config.input != Input::packed) return 0;
  return groups * config.column_tiles * config.all_tiles * config.packed_bytes;
}

int64_t partial_bytes(const Config& config, const Problem& p) {
  if (config.splits == 1 && config.flush_tiles == 0) return 0;
  return config.splits * p.in_channels * config.group_rows * config.tap_groups[0] *
         config.tap_groups[1] * config.tap_groups[2] * int64_t{sizeof(float)};
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.direction != Direction::grad_weight) return Verdict::refuse("grad_weight only");
  if (device.arch != kArch) return Verdict::refuse("needs compute capability 9.0");
  if (description.precision != Precision::fp32 && description.precision != Precision::tf32) {
    return Verdict::refuse("float32 and TF32 only");
  }
  if (p.in_channels_per_group() < kMinColumns) {
    return Verdict::refuse("fewer than 9 in channels per group");
  }
  const bool sparse = std::gcd(p.stride[2], p.dilation[2]) > 1;
  if (description.precision == Precision::tf32 && p.in_channels <= kNarrow &&
      p.out_channels >= kWide && (description.output == Layout::ndhwc || sparse) &&
      volume(p.kernel) >= kManyTaps) {
    return Verdict::refuse("TF32 of at most 32 in channels, many taps: weight_gemm is faster");
  }
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t reach = p.dilation[axis] * p.kernel[axis] + p.stride[axis] + p.padding[axis];
    if (p.input[axis] > kMaxIndex || output[axis] > kMaxIndex || reach > kMaxIndex) {
      return Verdict::refuse("an axis is longer than 2**29");
    }
  }
  const double positions =
      as_double(p.batch) * as_double(p.input[0]) * as_double(p.input[1]) * as_double(p.input[2]);
  const bool few_out = p.out_channels_per_group() <= kFewOut;
  if (description.precision == Precision::fp32 && positions < (few_out ? kMinFewSum : kMinSum)) {
    return Verdict::refuse("float32 sums of so few products: three TF32 products are worse");
  }
  const double weights = as_double(p.in_channels) * as_double(p.out_channels_per_group()) *
                         as_double(p.kernel[0]) * as_double(p.kernel[1]) * as_double(p.kernel[2]);
  if (positions > kMaxIndex || weights > kMaxIndex) {
    return Verdict::refuse("more than 2**29 positions or weights");
  }
  if (positions * weights <= kLittleWork && few_channels::supports(description, device).ok) {
    return Verdict::refuse("little to compute of few channels: few_channels is faster");
  }
  bool found = false;
  const Config config = choose(description, device, false, &found);
  if (!found) return Verdict::refuse("no tile of grad_output fits into shared memory");
  if (packed_input_bytes(config, p.groups) > kMaxPackedBytes) {
    return Verdict::refuse("the packed input would take more than 4 GB");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  int64_t bytes = 0;
  for (bool aligned : {false, true}) {
    bool found = false;
    const Config config = choose(description, device, aligned, &found);
    bytes = std::max(bytes, packed_input_bytes(config, p.groups) + partial_bytes(config, p));
  }
  return bytes;
}

std::string to_string(const Config& config) {
  return std::to_string(config.block_rows) + " rows x " + std::to_string(config.columns) +
         " columns, " + joined(config.taps) + " taps, " + joined(config.box) + " positions, " +
         (config.boxes    ? "planes by TMA, "
          : config.planes ? "planes, "
                          : "rows, ") +
         (config.input == Input::packed ? "" : "input as it lies, ") +
         std::to_string(config.stages) + " stages, " + std::to_string(config.jobs) + " jobs, " +
         std::to_string(config.splits) + " splits" + (config.flush_tiles > 0 ? ", flushed" : "");
}

std::string config(const Description& description, const Device& device) {
  bool found = false;
  return to_string(choose(description, device, true, &found));
}

}  // namespace convt3d::cuda::tap_gemm
