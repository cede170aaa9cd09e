// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/march_config.h"

#include <algorithm>

#include "cuda/few_channels/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::few_channels {

int64_t march_positions(const Problem& p) {
  return p.batch * ceil_div(p.input[1], kMarchCells) * ceil_div(p.input[2], kMarchCells);
}

bool march_fits(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const bool half = element_bytes(description.precision) == 2;
  const bool channels_last = description.input == Layout::ndhwc;
  const bool weight = description.direction == Direction::grad_weight;
  if (description.direction == Direction::forward ||
      !(half || (weight && channels_last && description.precision != Precision::fp64)) ||
      description.input != description.output || description.input == Layout::strided ||
      p.batch == 0 || p.out_channels_per_group() != 1 || p.in_channels_per_group() > 2) {
    return false;
  }
  for (int axis = 0; axis < 3; ++axis) {
    if (p.kernel[axis] != 3 || p.stride[axis] != 2 || p.dilation[axis] != 1) return false;
    if (p.padding[axis] > 2) return false;
  }
  if (channels_last ? p.in_channels % kMarchChannels != 0
                    : p.input[2] > kMarchCellsW * kMarchThreads) {
    return false;
  }
  const MarchConfig config = choose_march(description, device);
  return config.shared <= kMaxShared && config.blocks <= kMaxCount &&
         (!weight || march_workspace_bytes(description, device) <= kMaxPartBytes);
}

int64_t march_workspace_bytes(const Description& description, const Device& device) {
  if (description.direction != Direction::grad_weight) return 0;
  const Problem& p = description.problem;
  return choose_march(description, device).splits * p.in_channels * volume(p.kernel) *
         int64_t{sizeof(float)};
}

MarchConfig choose_march(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  MarchConfig config{};
  config.channels_last = description.input == Layout::ndhwc;
  int64_t columns = 0;  // blocks of a chunk of planes
  if (config.channels_last) {
    const bool weight = description.direction == Direction::grad_weight;
    const int64_t element = element_bytes(description.precision);
    config.channels = weight ? march_weight_channels(element) : kMarchChannels;
    const int64_t vectors = p.in_channels / config.channels;
    config.tiles = ceil_div(vectors, weight ? kMarchWeightLanes : kMarchLanes);
    config.lanes = std::max<int64_t>(1, ceil_div(vectors, std::max<int64_t>(1, config.tiles)));
    config.groups_of_lanes =
        (weight ? march_weight_threads(element) : kMarchThreads) / config.lanes;
    columns = config.tiles * ceil_div(march_positions(p), config.groups_of_lanes);
    if (weight) {
      config.depth = kMarchDepth;
      config.chunks_d = ceil_div(p.input[0], config.depth);
      const int64_t jobs = march_positions(p) * config.chunks_d;
      const int64_t useful = ceil_div(jobs, config.groups_of_lanes);
      config.splits = std::clamp<int64_t>(device.num_sms / std::max<int64_t>(1, config.tiles), 1,
                                          std::max<int64_t>(1, useful));
      if (element == 4) {
        const int64_t of_job = kMarchCells * kMarchCells * config.depth;
        config.splits = std::max(config.splits,
                                 ceil_div(useful, std::max<int64_t>(1, kMaxSumPositions / of_job)));
      }
      config.blocks = config.tiles * config.splits;
      return config;
    }
  } else {
    config.lanes = ceil_div(p.input[2], kMarchCellsW);
    config.groups_of_lanes = std::max<int64_t>(
        1, std::min(kMarchThreads / config.lanes, ceil_div(p.input[1], kMarchCellsH)));
    config.tiles = ceil_div(p.input[1], kMarchCellsH * config.groups_of_lanes);
    columns = p.batch * p.groups * config.tiles;
  }
  config.depth = kMarchDepth;
  config.chunks_d = ceil_div(p.input[0], config.depth);
  if (columns * config.chunks_d < kMarchBlocksPerSm * device.num_sms) {
    config.depth = kMinMarchDepth;
    config.chunks_d = ceil_div(p.input[0], config.depth);
  }
  config.blocks = columns * config.chunks_d;
  config.splits = p.batch * config.chunks_d * config.tiles;
  if (config.channels_last) return config;
  const int64_t rows = std::min(2 * kMarchCellsH * config.groups_of_lanes + 1, p.output()[1]);
  config.plane_bytes = ceil_div(rows * p.output()[2] * 2, int64_t{16}) * 16 + kMarchBeside;
  config.shared =
      std::max(kMarchZeros + kMarchPlanes * config.plane_bytes, int64_t{kMarchSumBytes});
  return config;
}

std::string to_string(const MarchConfig& config) {
  const std::string of_block = ", " + std::to_string(config.depth) + " planes of a block";
  if (config.channels_last) {
    return "march, " + std::to_string(config.lanes) + " x " + std::to_string(config.channels) +
           " channels" + of_block;
  }
  return "march, " + std::to_string(kMarchCellsH * config.groups_of_lanes) + " rows" + of_block;
}

}  // namespace convt3d::cuda::few_channels
