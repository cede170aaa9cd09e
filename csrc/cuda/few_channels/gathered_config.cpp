// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/gathered_config.h"

#include <algorithm>
#include <limits>

#include "cuda/common/resident.h"
#include "cuda/common/tf32_rate.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::few_channels {

// Chunks of one sum.
int64_t longest_sum(const Description& description) {
  return element_bytes(description.precision) == 4 ? kMaxGatheredSum
                                                   : std::numeric_limits<int64_t>::max();
}

bool gathered_fits(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.precision == Precision::fp64 || volume(p.kernel) < kMinLongTaps) return false;
  for (int64_t taps : p.kernel) {
    if (taps > kMaxAxisTaps) return false;
  }
  if (element_bytes(description.precision) == 4 && is_slow_in_tf32(device.arch)) return false;
  if (description.direction == Direction::grad_weight) return taps_ins(description) == kTapsIns;
  if (description.direction == Direction::forward) return false;
  if (choose_gathered(description, device).own_chunks > longest_sum(description)) return false;
  const int64_t lines = p.batch * p.input[0] * p.input[1] * p.groups;
  return p.in_channels_per_group() > kFewTapIns ||
         lines * ceil_div(p.input[2], kTapCells) < kManyTapBlocksPerSm * device.num_sms;
}

GatheredConfig choose_gathered(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const int64_t depth = kTapChunk / element, positions = p.batch * volume(p.input);
  const int64_t taps = p.out_channels_per_group() * volume(p.kernel);
  const bool weight = description.direction == Direction::grad_weight;
  GatheredConfig config{};
  config.tile_ins = p.in_channels_per_group() <= 16 ? 16 : kTapIns;
  config.in_tiles = ceil_div(p.in_channels_per_group(), config.tile_ins);
  config.row_tiles = ceil_div(weight ? taps : positions, kTapRows);
  const int64_t tiles = config.row_tiles * config.in_tiles * p.groups;
  const int64_t chunks = ceil_div(weight ? positions : taps, depth);
  const int64_t part = p.in_channels * positions * int64_t{sizeof(float)};
  const int64_t most =
      weight ? 1
             : std::min(chunks, std::max<int64_t>(1, kMaxPartBytes / std::max<int64_t>(1, part)));
  const int64_t wanted =
      std::clamp(std::max(kTapBlocksPerSm * device.num_sms / std::max<int64_t>(1, tiles),
                          ceil_div(chunks, longest_sum(description))),
                 int64_t{1}, most);
  config.own_chunks = ceil_div(chunks, wanted);
  config.splits = ceil_div(chunks, config.own_chunks);
  config.blocks = tiles * config.splits;
  return config;
}

int64_t gathered_workspace_bytes(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t splits = choose_gathered(description, device).splits;
  if (description.direction == Direction::grad_weight || splits == 1) return 0;
  return splits * p.in_channels * p.batch * volume(p.input) * int64_t{sizeof(float)};
}

std::string to_string(const GatheredConfig& config) {
  return "gathered taps, " + std::to_string(config.tile_ins) + " in channels of a block, " +
         std::to_string(config.splits) + " splits";
}

}  // namespace convt3d::cuda::few_channels
