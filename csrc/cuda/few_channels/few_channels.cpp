// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/few_channels.h"

#include <algorithm>

#include "cuda/few_channels/config.h"
#include "cuda/few_channels/tuning.h"

namespace convt3d::cuda::few_channels {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Stride 2, kernel 3 or 4 on all axes, enough to sum and little to hold.
bool scatters(const Problem& p) {
  const int64_t kernel = p.kernel[0];
  if (kernel != 3 && kernel != 4) return false;
  for (int axis = 0; axis < 3; ++axis) {
    if (p.kernel[axis] != kernel || p.stride[axis] != 2 || p.dilation[axis] != 1) return false;
  }
  return p.groups == 1 && p.in_channels >= kMinScatterIns && p.out_channels <= kMaxScatterOuts;
}

// Whether threads lie side by side on channels.
bool channels_last(const Description& description) {
  return description.output == Layout::ndhwc ||
         (description.input == Layout::ndhwc && description.problem.out_channels == 1);
}

}  // namespace

Config choose(const Description& description) {
  const Problem& p = description.problem;
  const int64_t in = p.in_channels_per_group(), out = p.out_channels_per_group();
  const int64_t pairs = in * volume(p.kernel);
  Config config{};
  config.taps_w = p.stride[2] == 2 && p.kernel[2] >= 2 && p.kernel[2] <= 4 ? int(p.kernel[2])
                  : p.stride[2] == 1 && p.kernel[2] == 3                   ? 3
                                                                           : 0;
  config.lanes = 1;
  config.ins = 1;
  if (scatters(p)) {
    const int kernel = int(p.kernel[0]);
    config.mapping = Mapping::scatter;
    config.outs = kernel == 3 && out > 1 ? 2 : 1;
    config.ins = in % 4 == 0 ? 4 : 1;
    config.taps_w = kernel;
    config.tile_outs = config.outs;
    config.tiles = ceil_div(out, config.outs);
    // The weights, and the shares that positions exchange at once.
    config.shared =
        (in * scatter_row(kernel, config.outs) + 4 * kernel * config.outs * kPositions) *
        int64_t{sizeof(float)};
    if (config.shared <= kMaxShared) return config;
    config = Config{};
    config.taps_w = kernel;
    config.lanes = 1;
    config.ins = 1;
  }
  if (!channels_last(description)) {
    config.mapping = Mapping::planes;
    config.outs = out == 1 ? 1 : out == 2 ? 2 : out <= 4 || pairs > kMaxSingleChain ? 4 : 8;
    config.tile_outs = config.outs;
    config.tiles = p.groups * ceil_div(out, config.outs);
  } else if (p.groups == 1 && out <= 4 && in > 16) {
    config.mapping = Mapping::reduction;
    config.outs = out <= 2 ? int(out) : 4;
    config.ins = in % 4 == 0 ? 4 : 1;
    config.lanes = kReductionLanes;
    config.tile_outs = config.outs;
    config.tiles = 1;
  } else {
    const bool depthwise = out == 1 && in <= 2 && p.groups > 1;
    config.mapping = depthwise ? Mapping::depthwise : Mapping::channels;
    config.outs = depthwise || p.groups == 1 || out % 4 == 0 ? 4 : out % 2 == 0 ? 2 : 1;
    if (p.groups == 1 && out <= 2) config.outs = int(out);
    // In fp32 eight pay only where a group's inputs serve no other thread.
    const bool eight = p.groups > 1 || element_bytes(description.precision) == 2;
    if (!depthwise && eight && out % 8 == 0 && pairs <= kMaxSingleChain) config.outs = 8;
    config.ins = depthwise ? int(4 * in) : in % 4 == 0 && config.outs < 8 ? 4 : 1;
    const int64_t blocks = ceil_div(p.out_channels, config.outs);
    config.tiles = ceil_div(blocks, kMaxLanes);
    config.lanes = static_cast<int>(ceil_div(blocks, config.tiles));
    config.tile_outs = config.lanes * config.outs;
  }
  config.shared = volume(p.kernel) * in * config.tile_outs * int64_t{sizeof(float)};
  return config;
}

std::string to_string(const Config& config) {
  const char* const names[] = {"planes", "channels", "depthwise", "reduction", "scatter"};
  std::string text = names[static_cast<int>(config.mapping)];
  text += ", " + std::to_string(config.outs) + " out channels a thread";
  if (config.taps_w > 0) text += ", " + std::to_string(config.taps_w) + " taps on w";
  return text;
}

Verdict supports(const Description& description, const Device&) {
  const Problem& p = description.problem;
  if (description.direction != Direction::forward) return Verdict::refuse("forward only");
  if (description.precision == Precision::fp64) return Verdict::refuse("no kernel for fp64");
  if (p.in_channels_per_group() > kMaxIns && p.out_channels_per_group() > kMaxOuts) {
    return Verdict::refuse("more than 4 in channels and more than 8 out channels per group");
  }
  if (p.kernel[2] > kMaxTapsW) return Verdict::refuse("more than 4 taps on w");
  if (p.stride[2] > 2) return Verdict::refuse("stride on w must be 1 or 2");
  if (p.stride[2] > 1 && p.dilation[2] > 1) {
    return Verdict::refuse("no dilation on w beside a stride there");
  }
  if (p.stride[0] > kMaxStride || p.stride[1] > kMaxStride) {
    return Verdict::refuse("strides on d and h must be at most 16");
  }
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    for (int64_t extent : {p.input[axis], output[axis], p.padding[axis],
                           p.dilation[axis] * (p.kernel[axis] - 1) + p.stride[axis]}) {
      if (extent > kMaxExtent) return Verdict::refuse("an axis is longer than 2**29");
    }
  }
  const double positions = static_cast<double>(p.batch) * static_cast<double>(output[0] + 32) *
                           static_cast<double>(output[1] + 32) * static_cast<double>(output[2] + 2);
  if (positions * kReductionLanes > static_cast<double>(kMaxCount) * kThreads) {
    return Verdict::refuse("too many positions for 32-bit counts");
  }
  if (static_cast<double>(p.in_channels) * static_cast<double>(p.out_channels) *
          static_cast<double>(volume(p.kernel)) >
      static_cast<double>(kMaxCount)) {
    return Verdict::refuse("too many weights for 32-bit counts");
  }
  const bool depthwise = p.in_channels_per_group() <= 2 && p.out_channels_per_group() == 1;
  if (depthwise && p.groups > 1 && p.in_channels_per_group() * volume(p.kernel) > kMaxSingleChain) {
    return Verdict::refuse("depthwise sums of more than 512 products");
  }
  if (choose(description).shared > kMaxShared) {
    return Verdict::refuse("the weights of a block of out channels must fit 96 KB as float32");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description&, const Device&) { return 0; }

std::string config(const Description& description, const Device&) {
  return to_string(choose(description));
}

}  // namespace convt3d::cuda::few_channels
