// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/lane_sums/lane_sums.h"

#include <algorithm>

#include "cuda/common/resident.h"
#include "cuda/lane_sums/config.h"
#include "cuda/lane_sums/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::lane_sums {
namespace {

double as_double(int64_t value) { return static_cast<double>(value); }

// Results of one channel and their products, those of taps that an output does not have included.
struct Counts {
  double results, products;
  int64_t channels;  // of a group
};

Counts count(const Description& description) {
  const Problem& p = description.problem;
  const int64_t ins = p.in_channels_per_group(), outs = p.out_channels_per_group();
  const bool forward = description.direction == Direction::forward;
  const Extent3 places = forward ? p.output() : p.input;
  double positions = as_double(p.batch), taps = 1;
  for (int axis = 0; axis < 3; ++axis) {
    positions *= as_double(places[axis]);
    taps *= as_double(forward ? ceil_div(p.kernel[axis], p.stride[axis]) : p.kernel[axis]);
  }
  if (description.direction == Direction::grad_weight) {
    return {as_double(p.out_channels) * taps, positions, ins};
  }
  return {as_double(p.groups) * positions, as_double(forward ? ins : outs) * taps,
          forward ? outs : ins};
}

// In channels_last a lane's load or store is a sector of its own where lanes have neighbouring
// positions: grad_weight's of many in channels, and forward's results of a lane each.
double expected_us(const Description& description, const Counts& counts, const Config& config,
                   const Device& device) {
  const Problem& p = description.problem;
  const auto lanes = static_cast<double>(config.lanes);
  const int64_t steps = ceil_div(static_cast<int64_t>(counts.products), int64_t{config.lanes});
  const double thousands = as_double(config.units) * lanes / 32e3 * kFittedSms / device.num_sms;
  const bool scattered_loads = description.direction == Direction::grad_weight &&
                               description.input != Layout::ncdhw && p.in_channels >= kManyChannels;
  const bool scattered_results = description.direction == Direction::forward &&
                                 description.output != Layout::ncdhw && config.lanes == 1;
  const double warp = scattered_results ? kScatteredWarpsUs : kWarpsUs;
  const double channel = scattered_loads ? kScatteredChannelsUs : kWarpChannelsUs;
  return kLaunchUs + kStepsUs * as_double(ceil_div(steps, int64_t{kSteps})) +
         thousands * (warp + as_double(steps) * (kWarpStepsUs + channel * config.tile));
}

// What the others take at the least.
double most_us(const Description& description) {
  const Problem& p = description.problem;
  const int64_t residues = volume(p.stride);
  if (description.direction == Direction::grad_weight) return kMostUs;
  bool blocks = p.groups == 1 && p.padding == Extent3{};
  for (int axis = 0; axis < 3; ++axis) blocks = blocks && p.kernel[axis] <= p.stride[axis];
  if (p.kernel == p.stride || (blocks && description.direction == Direction::grad_input)) {
    return kMostShuffledUs;
  }
  if (description.direction == Direction::grad_input && residues >= kVeryManyResidues) {
    return kMostGradInputUs;
  }
  return residues >= kManyResidues ? kMostResiduesUs : kMostUs;
}

Config choose(const Counts& counts, const Device& device) {
  Config config{1, 1, 0};
  while (config.tile < kMaxTile && config.tile < counts.channels) config.tile *= 2;
  config.units =
      static_cast<int64_t>(counts.results) * ceil_div(counts.channels, int64_t{config.tile});
  const auto products = static_cast<int64_t>(counts.products);
  const auto pays_to_share = [&] {
    const bool idle = config.units * config.lanes < device.num_sms * kThreadsPerSm;
    return products > config.lanes * (idle ? 1 : kSteps);
  };
  while (config.lanes < 32 && pays_to_share()) config.lanes *= 2;
  return config;
}

}  // namespace

Config choose(const Description& description, const Device& device) {
  return choose(count(description), device);
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.precision == Precision::fp64) return Verdict::refuse("no kernel for fp64");
  if (device.arch < 90) return Verdict::refuse("needs compute capability 9.0 or later");
  const bool forward = description.direction == Direction::forward;
  if (taps_ins(description) > 0 ||
      (forward && has_long_strides(p) && p.out_channels_per_group() <= kDirectOuts)) {
    return Verdict::refuse("direct has one launch for it, too");
  }
  const Counts counts = count(description);
  if (counts.products > kMaxProducts || counts.results * as_double(counts.channels) > kMaxResults) {
    return Verdict::refuse("much to compute: others are faster");
  }
  if (expected_us(description, counts, choose(counts, device), device) > most_us(description)) {
    return Verdict::refuse("more to compute than a launch takes: others are faster");
  }
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    if (forward && p.stride[axis] > 1 && p.dilation[axis] > 1) {
      return Verdict::refuse("forward: no dilation beside a stride");
    }
    for (int64_t extent :
         {p.input[axis], output[axis], p.padding[axis], p.stride[axis], p.dilation[axis]}) {
      if (extent > kMaxExtent) return Verdict::refuse("an axis is longer than 2**29");
    }
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description&, const Device&) { return 0; }

std::string config(const Description& description, const Device& device) {
  const Config chosen = choose(description, device);
  return std::to_string(chosen.tile) + (chosen.tile > 1 ? " channels of " : " channel of ") +
         std::to_string(chosen.lanes) + (chosen.lanes > 1 ? " lanes" : " lane");
}

}  // namespace convt3d::cuda::lane_sums
