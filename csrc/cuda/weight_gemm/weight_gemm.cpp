// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/weight_gemm/weight_gemm.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "cuda/common/grad_weight_cuts.h"
#include "cuda/common/kept_answer.h"
#include "cuda/weight_gemm/config.h"
#include "cuda/weight_gemm/tile.h"
#include "cuda/weight_gemm/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::weight_gemm {
namespace {

// One call, in what the estimate needs.
struct Shape {
  const Problem& problem;
  std::array<AxisSteps, 3> steps;
  Precision precision;
  int64_t element, taps, weights;
  int64_t shared, num_sms;
  bool gathered_input, gathered_output;
};

// Whether a tensor has its channels side by side, in whole 16-byte pieces.
bool is_gathered(Layout layout, int64_t channels, int64_t groups, int64_t element) {
  return layout != Layout::ndhwc || channels * groups * element % 16 != 0;
}

Shape make_shape(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const int64_t taps = volume(p.kernel);
  return {p,
          {axis_steps(p, 0), axis_steps(p, 1), axis_steps(p, 2)},
          description.precision,
          element,
          taps,
          taps * p.in_channels * p.out_channels_per_group(),
          max_shared_bytes(device.arch),
          device.num_sms,
          is_gathered(description.input, p.in_channels_per_group(), p.groups, element),
          is_gathered(description.output, p.out_channels_per_group(), p.groups, element)};
}

// mma.sync of one 16 x 16 block of products over 16 positions.
double products(Precision precision) {
  return precision == Precision::fp32 ? 16 : precision == Precision::tf32 ? 4 : 2;
}

double load_clocks(const Shape& shape, bool gathered, double rows, int64_t channels) {
  const double rate =
      gathered ? kGatherBytesPerClock * static_cast<double>(shape.element) : kCopyBytesPerClock;
  return rows * static_cast<double>(channels * shape.element) / rate;
}

// The halo, stages and splits of a config whose warps, taps and box are set; clocks of the whole,
// or nothing where it does not fit.
std::optional<double> complete(const Shape& shape, Config* config) {
  const Problem& p = shape.problem;
  int64_t positions = config->box[0], halo_rows = config->box[0];
  config->all_tiles = config->tiles[0] = ceil_div(p.batch, config->box[0]);
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t length = config->box[1 + axis];
    const AxisSteps& steps = shape.steps[axis];
    const int64_t halo = (length - 1) * steps.step + (config->taps[axis] - 1) * steps.tap_step + 1;
    if (halo > kMaxLocal || length > kMaxLocal) return {};
    config->halo[axis] = static_cast<int>(halo);
    positions *= length;
    halo_rows *= axis < 2 ? halo : ceil_div(halo, steps.step) * steps.step;
    config->tiles[1 + axis] = ceil_div(p.input[axis], length);
    config->all_tiles *= config->tiles[1 + axis];
    if (halo_rows > kNoImage) return {};
  }
  config->line =
      static_cast<int>(ceil_div(config->halo[2], shape.steps[2].step) * shape.steps[2].step);
  config->positions = static_cast<int>(ceil_div(positions, 16) * 16);
  config->rows = static_cast<int>(halo_rows);
  const int64_t in_channels = int64_t{config->in_parts} * tile_rows(config->tile);
  const int64_t out_channels = int64_t{config->out_parts} * 16;
  const int64_t stage = config->positions * row_pitch(in_channels, shape.element) +
                        config->rows * row_pitch(out_channels, shape.element);
  const int64_t tables = table_bytes(config->positions, config->rows);
  const int64_t stages = (shape.shared - tables) / stage;
  if (stages < kMinStages) return {};
  config->stages = static_cast<int>(std::min<int64_t>(stages, kMaxStages));
  config->shared_bytes = tables + config->stages * stage;

  // One warp leaves its quarter of an SM waiting.
  const double turns = std::max(static_cast<double>(ceil_div(config->warps, 4)), kLeastTurns);
  const double multiply = turns * config->units * (tile_rows(config->tile) / 16) *
                          (config->positions / 16) * products(shape.precision) * kProductClocks;
  const double load =
      load_clocks(shape, shape.gathered_input, config->positions, in_channels) +
      load_clocks(shape, shape.gathered_output, static_cast<double>(halo_rows), out_channels);
  // Two stages do not hide all of a load.
  const double hidden = config->stages > 2 ? std::max(multiply, load) : multiply + load / 2;
  const double tile = std::max(hidden, load) + kTileClocks;

  const int64_t most_splits =
      std::max<int64_t>(1, kMaxPartialBytes / (shape.weights * int64_t{sizeof(float)}));
  const int64_t most = std::min(most_splits, config->all_tiles);
  // float32 adds its short sums in registers.
  const int64_t depth = shape.element == 2 ? 16 : 8;
  const int64_t chain =
      shape.precision == Precision::fp32 ? 0 : config->all_tiles * (config->positions / depth);
  const int64_t least = std::clamp<int64_t>(ceil_div(chain, kMaxChain), 1, most);
  std::optional<double> best;
  for (int64_t waves = 1; waves <= 4; ++waves) {
    const int64_t splits = std::clamp<int64_t>(waves * shape.num_sms / config->jobs, least, most);
    const double rounds = static_cast<double>(ceil_div(config->jobs * splits, shape.num_sms));
    const double partial = static_cast<double>(8 * splits * shape.weights);
    const double clocks =
        rounds * (static_cast<double>(ceil_div(config->all_tiles, splits)) * tile + kBlockClocks) +
        partial / (kReduceBytesPerClock * static_cast<double>(shape.num_sms)) + kReduceClocks;
    if (best && clocks >= *best) continue;
    best = clocks;
    config->splits = splits;
  }
  return best;
}

// Boxes of positions, each as long on w as it may be.
std::vector<std::array<int, 4>> boxes(const Problem& p) {
  std::vector<std::array<int, 4>> found;
  for (int64_t w : cuts(p.input[2], kMaxPositions, kMaxCuts)) {
    for (int64_t h : cuts(p.input[1], std::max<int64_t>(1, kMaxPositions / w), kMaxCuts)) {
      for (int64_t d : cuts(p.input[0], std::max<int64_t>(1, kMaxPositions / (w * h)), kMaxCuts)) {
        const bool whole = w == p.input[2] && h == p.input[1] && d == p.input[0];
        for (int64_t n = 1; n <= (whole ? p.batch : 1) && n * d * h * w <= kMaxPositions; n *= 2) {
          const bool enough = n * d * h * w >= std::min<int64_t>(kMinPositions, volume(p.input));
          if (!enough && n < p.batch) continue;
          found.push_back(
              {static_cast<int>(n), static_cast<int>(d), static_cast<int>(h), static_cast<int>(w)});
        }
      }
    }
  }
  return found;
}

struct Choice {
  Config config{};
  double clocks = 0;
  bool found = false;
};

// The best box for these warps and taps.
void choose_box(const Shape& shape, const std::vector<std::array<int, 4>>& all, Config config,
                Choice* best) {
  for (const auto& box : all) {
    config.box = box;
    const std::optional<double> clocks = complete(shape, &config);
    if (!clocks || (best->found && *clocks >= best->clocks)) continue;
    *best = {config, *clocks, true};
  }
}

// Multiplications of a block's warps over those that count, at the least.
double padding_of(const Shape& shape, const Config& config) {
  const double blocks = static_cast<double>(config.jobs * ceil_div(config.warps, 4) * 4);
  return blocks * config.units * tile_rows(config.tile) * 16 / static_cast<double>(shape.weights);
}

Choice choose_cut(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const Shape shape = make_shape(description, device);
  const int64_t ins = p.in_channels_per_group(), outs = p.out_channels_per_group();
  std::vector<Config> cut;
  for (TileKind tile : {TileKind::rows32, TileKind::rows48}) {
    for (int in_parts = 1; in_parts <= 4; ++in_parts) {
      for (int out_parts : {1, 2, 3, 4, 6, 8}) {
        Config config{};
        config.tile = tile;
        config.units = tile_units(tile, shape.precision);
        config.in_parts = in_parts;
        config.out_parts = out_parts;
        config.in_tiles = ceil_div(ins, int64_t{in_parts} * tile_rows(tile));
        config.out_tiles = ceil_div(outs, int64_t{out_parts} * 16);
        // As many channels as the next smaller block has would do.
        if ((in_parts > 1 && in_parts * tile_rows(tile) >= ins + tile_rows(tile)) ||
            (out_parts > 1 && out_parts * 16 >= outs + 16)) {
          continue;
        }
        // Lanes of a warp that take a row.
        if (std::max(in_parts * tile_rows(tile), out_parts * 16) * shape.element > 32 * 16) {
          continue;
        }
        const int64_t room = int64_t{kMaxWarps} / in_parts * config.units / out_parts;
        for (int64_t d : cuts(p.kernel[0], kMaxLocal, kMaxCuts)) {
          for (int64_t h : cuts(p.kernel[1], kMaxLocal, kMaxCuts)) {
            for (int64_t w : cuts(p.kernel[2], kMaxLocal, kMaxCuts)) {
              if (d * h * w > room) continue;
              config.taps = {static_cast<int>(d), static_cast<int>(h), static_cast<int>(w)};
              const int64_t units = d * h * w * out_parts;
              config.warps = static_cast<int>(ceil_div(units, config.units) * in_parts);
              config.jobs = p.groups * config.in_tiles * config.out_tiles;
              for (int axis = 0; axis < 3; ++axis) {
                config.tap_groups[axis] = ceil_div(p.kernel[axis], config.taps[axis]);
                config.jobs *= config.tap_groups[axis];
              }
              cut.push_back(config);
            }
          }
        }
      }
    }
  }
  // Boxes are tried for the cuts that waste least.
  constexpr size_t kTried = 24;
  std::sort(cut.begin(), cut.end(), [&](const Config& a, const Config& b) {
    return padding_of(shape, a) < padding_of(shape, b);
  });
  const auto all = boxes(p);
  Choice best;
  for (size_t i = 0; i < cut.size() && (i < kTried || !best.found); ++i) {
    choose_box(shape, all, cut[i], &best);
  }
  return best;
}

}  // namespace

bool choose(const Description& description, const Device& device, Config* config) {
  const Choice choice =
      kept_answer(description, device, [&] { return choose_cut(description, device); });
  *config = choice.config;
  return choice.found;
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.direction != Direction::grad_weight) return Verdict::refuse("grad_weight only");
  if (device.arch < 80 || device.arch >= kEndArch) {
    return Verdict::refuse("needs compute capability 8.0 to 9.0");
  }
  if (description.precision == Precision::fp64) return Verdict::refuse("no kernel for float64");
  if (p.in_channels_per_group() < kMinChannels || p.out_channels_per_group() < kMinChannels) {
    return Verdict::refuse("fewer than 5 in or out channels per group");
  }
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t reach = p.dilation[axis] * p.kernel[axis] + p.stride[axis] + p.padding[axis];
    if (p.input[axis] > kMaxIndex || output[axis] > kMaxIndex || reach > kMaxIndex) {
      return Verdict::refuse("an axis is longer than 2**29");
    }
  }
  const double positions = static_cast<double>(p.batch) * static_cast<double>(p.input[0]) *
                           static_cast<double>(p.input[1]) * static_cast<double>(p.input[2]);
  if (description.precision == Precision::fp32 && positions < kMinSum) {
    return Verdict::refuse("float32 sums of fewer than 16 products: three TF32 products are worse");
  }
  const double weights = static_cast<double>(p.in_channels) *
                         static_cast<double>(p.out_channels_per_group()) *
                         static_cast<double>(p.kernel[0]) * static_cast<double>(p.kernel[1]) *
                         static_cast<double>(p.kernel[2]);
  if (positions > kMaxIndex || weights > kMaxIndex) {
    return Verdict::refuse("more than 2**29 positions or weights");
  }
  Config config;
  if (!choose(description, device, &config)) {
    return Verdict::refuse("no tile of grad_output fits into shared memory");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  Config config;
  choose(description, device, &config);
  return config.splits * p.in_channels * p.out_channels_per_group() * volume(p.kernel) *
         int64_t{sizeof(float)};
}

std::string to_string(const Config& config) {
  return std::to_string(config.in_parts * tile_rows(config.tile)) + "x" +
         std::to_string(16 * config.out_parts) + " channels, " + joined(config.taps) + " taps, " +
         joined(config.box) + " positions, " + std::to_string(config.warps) + " warps, " +
         std::to_string(config.stages) + " stages, " + std::to_string(config.jobs) + " jobs, " +
         std::to_string(config.splits) + " splits";
}

std::string config(const Description& description, const Device& device) {
  Config chosen;
  choose(description, device, &chosen);
  return to_string(chosen);
}

}  // namespace convt3d::cuda::weight_gemm
