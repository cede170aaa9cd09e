// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/weight_config.h"

#include <algorithm>
#include <numeric>

#include "cuda/few_channels/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::few_channels {
namespace {

void choose_channels(const Description& description, WeightConfig* config) {
  const Problem& p = description.problem;
  const int64_t in = p.in_channels_per_group(), out = p.out_channels_per_group();
  config->outs = 1;
  if (description.input == Layout::ncdhw && description.output == Layout::ncdhw) {
    config->mapping = Mapping::planes;
    config->ins = in <= 2 ? static_cast<int>(in) : in <= 4 ? 4 : 8;
  } else if (in == 1 && out == 1 && p.groups > 1) {
    config->mapping = Mapping::depthwise;
    config->ins = config->outs = 4;
  } else {
    config->mapping = Mapping::channels;
    config->outs = out > 2 ? 4 : 1;
    config->ins = out > 2 ? (in == 1 ? 1 : 2) : in <= 2 ? 2 : 4;
  }
}

// Jobs on the run axis: one or two taps of a class each.
int64_t count_run_jobs(const WeightConfig& config, int64_t kernel) {
  if (!config.shares_rows) return kernel;
  int64_t jobs = 0;
  for (int64_t kind = 0; kind < std::min<int64_t>(kernel, config.tap_step); ++kind) {
    jobs += ceil_div((kernel - 1 - kind) / config.tap_step + 1, 2);
  }
  return jobs;
}

}  // namespace

WeightConfig choose_weight(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  WeightConfig config{};
  choose_channels(description, &config);
  config.cells = config.ins <= 2 && config.outs == 1 ? kMaxWeightCells : kMaxWeightCells / 2;
  // Three or four taps on w: what leaves fewer of them empty.
  config.taps_w = ceil_div(p.kernel[2], 4) * 4 <= ceil_div(p.kernel[2], 3) * 3 ? 4 : 3;
  // The run lies on the axis that it fills best.
  const auto padded = [&](int axis) {
    const double runs = static_cast<double>(ceil_div(p.input[axis], config.cells));
    return runs * config.cells / static_cast<double>(p.input[axis]);
  };
  config.run_axis = padded(0) < padded(1) ? 0 : 1;
  const int run = config.run_axis;
  const int64_t common = std::gcd(p.stride[run], p.dilation[run]);
  config.tap_step = static_cast<int>(p.stride[run] / common);
  config.shares_rows = p.dilation[run] == common;

  const int64_t in = p.in_channels_per_group(), out = p.out_channels_per_group();
  const bool depthwise = config.mapping == Mapping::depthwise;
  config.in_blocks = depthwise ? 1 : ceil_div(in, config.ins);
  config.out_blocks = depthwise ? 1 : ceil_div(out, config.outs);
  config.pairs =
      depthwise ? ceil_div(p.groups, config.ins) : p.groups * config.in_blocks * config.out_blocks;
  config.run_jobs = count_run_jobs(config, p.kernel[run]);
  config.w_jobs = ceil_div(p.kernel[2], config.taps_w);
  config.tap_jobs = p.kernel[1 - run] * config.run_jobs * config.w_jobs;
  if (config.mapping == Mapping::planes) {
    config.lanes = kThreads / kPlaneLanes;
    config.blocks = ceil_div(config.pairs * config.tap_jobs, config.lanes);
  } else {
    const int64_t tiles = ceil_div(config.pairs, kMaxLanes);
    config.lanes = static_cast<int>(ceil_div(config.pairs, tiles));
    config.blocks = tiles * config.tap_jobs;
  }
  config.positions = p.batch * p.input[1 - run] * ceil_div(p.input[run], config.cells) * p.input[2];
  config.steps = ceil_div(config.positions, kThreads / config.lanes);

  const int64_t weight_bytes = p.in_channels * out * volume(p.kernel) * int64_t{sizeof(float)};
  const int64_t wanted = ceil_div(device.num_sms * kWeightBlocksPerSm, config.blocks);
  const int64_t useful = ceil_div(config.steps, kMinSteps);
  const int64_t accurate = ceil_div(config.steps * config.cells, kMaxSumPositions);
  config.splits = std::clamp<int64_t>(std::max(accurate, std::min(wanted, useful)), 1,
                                      std::max<int64_t>(1, kMaxPartBytes / weight_bytes));
  return config;
}

std::string to_string(const WeightConfig& config) {
  std::string text = to_string(config.mapping);
  text += ", " + std::to_string(config.ins) + " x " + std::to_string(config.outs);
  text += config.mapping == Mapping::depthwise ? " own channels" : " channels";
  return text + " and " + std::to_string(config.taps_w) + " taps on w a thread, " +
         std::to_string(config.splits) + " splits";
}

}  // namespace convt3d::cuda::few_channels
