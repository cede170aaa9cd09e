// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/direct/direct.h"

#include <algorithm>

#include "cuda/common/resident.h"
#include "cuda/direct/config.h"
#include "cuda/direct/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::direct {
namespace {

int64_t accumulator_bytes(const Description& description) {
  return description.precision == Precision::fp64 ? 8 : 4;
}

bool needs_wide_coordinates(const Problem& p) {
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t reach = p.dilation[axis] * (p.kernel[axis] - 1);
    for (int64_t extent : {p.input[axis] * p.stride[axis], output[axis], reach, p.padding[axis]}) {
      if (extent >= kMaxCoordinate) return true;
    }
  }
  return false;
}

int64_t weight_elements(const Problem& p) {
  return p.in_channels * p.out_channels_per_group() * volume(p.kernel);
}

// Residues of h that a block of `resident` takes: as many as its threads have taps for, with blocks
// left for the device.
int choose_lines(const Problem& p, const Device& device) {
  const ResidentSize size(p);
  const int64_t units =
      p.kernel[2] * (size.width / 4) * ceil_div(size.rows, int64_t{kResidentRows});
  int64_t lines = 1;
  for (int64_t more = 2; more <= p.stride[1]; ++more) {
    const int64_t blocks = p.out_channels * p.stride[0] * ceil_div(p.stride[1], more);
    if (more * units > kResidentThreads || size.bytes(p, more) > kResidentBytes ||
        blocks < kResidentBlocksPerSm * device.num_sms) {
      break;
    }
    lines = more;
  }
  return static_cast<int>(lines);
}

// Enough splits to fill the device and to keep each one's sum to `max_positions`.
int64_t choose_splits(const Description& description, int64_t blocks, int64_t wanted_blocks,
                      int64_t max_positions) {
  const Problem& p = description.problem;
  const int64_t positions = p.batch * volume(p.input);
  const int64_t wanted =
      std::max(ceil_div(wanted_blocks, blocks), ceil_div(positions, max_positions));
  const int64_t useful = ceil_div(positions, std::min(kMinSplitPositions, max_positions));
  const int64_t affordable =
      kMaxPartialBytes / (weight_elements(p) * accumulator_bytes(description));
  return std::max<int64_t>(1, std::min({wanted, useful, affordable}));
}

}  // namespace

Verdict supports(const Description&, const Device&) { return Verdict::accept(); }

Config choose(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t in = p.in_channels_per_group(), out = p.out_channels_per_group();
  const bool wide = needs_wide_coordinates(p);
  if (description.direction == Direction::grad_weight) {
    const int ins = taps_ins(description);
    if (!wide && ins > 0) return {Scheme::taps, ins, false, 0, 1};
    const bool gather = wide || in <= 2 || (in <= kGatherChannels && out <= kGatherChannels);
    if (gather) {
      const int tile_n = in == 1 && !wide ? 1 : 8;
      const int64_t taps = tile_n == 1 ? kGatherTaps1 : kGatherTaps8;
      // launch() puts neighbouring groups on so many threads where channels are innermost.
      int64_t lanes = 1;
      while (description.output != Layout::ncdhw && lanes < kMaxGroupLanes &&
             2 * lanes <= p.groups) {
        lanes *= 2;
      }
      const int64_t blocks =
          ceil_div(p.groups, lanes) * out * ceil_div(in, tile_n) * ceil_div(volume(p.kernel), taps);
      const int64_t max_positions = kMaxThreadPositions * (kGatherThreads / lanes);
      return {
          Scheme::gather, tile_n, wide, 0,
          choose_splits(description, blocks, kGatherBlocksPerSm * device.num_sms, max_positions)};
    }
    const int tile_n = in <= 32 ? 32 : 64;
    const int64_t blocks =
        p.groups * ceil_div(out * volume(p.kernel), kTileM) * ceil_div(in, tile_n);
    return {
        Scheme::tiled, tile_n, false, 0,
        choose_splits(description, blocks, kTiledBlocksPerSm * device.num_sms, kMaxTiledPositions)};
  }
  const bool forward = description.direction == Direction::forward;
  const int64_t columns = forward ? out : in;
  if (!wide && is_resident_forward(description)) {
    return {Scheme::resident, choose_lines(p, device), false, 0, 1};
  }
  if (!wide && forward && columns <= kGatherChannels && has_long_strides(p)) {
    return {Scheme::outputs, 1, false, 0, 1};
  }
  if (!wide && columns > kGatherChannels) {
    return {Scheme::tiled, columns <= 32 ? 32 : 64, false, columns, 1};
  }
  const int tile_n = wide ? 4 : columns == 1 ? 1 : columns <= 4 ? 4 : 8;
  return {Scheme::gather, tile_n, wide, ceil_div(columns, tile_n) * tile_n, 1};
}

std::string to_string(const Config& config) {
  if (config.scheme == Scheme::outputs) return "an output a thread";
  if (config.scheme == Scheme::taps) {
    return "a tap and " + std::to_string(config.tile_n) + " in channels a thread";
  }
  if (config.scheme == Scheme::resident) {
    return "inputs in shared memory, " + std::to_string(config.tile_n) + " lines of residues";
  }
  std::string text = config.scheme == Scheme::tiled ? "tiled 128x" : "gather x";
  text += std::to_string(config.tile_n);
  if (config.wide) text += ", 64-bit coordinates";
  if (config.splits > 1) text += ", " + std::to_string(config.splits) + " splits";
  return text;
}

std::string config(const Description& description, const Device& device) {
  return to_string(choose(description, device));
}

int64_t packed_bytes(const Description& description, const Config& config) {
  const Problem& p = description.problem;
  const int64_t depth = description.direction == Direction::forward ? p.in_channels_per_group()
                                                                    : p.out_channels_per_group();
  const int64_t bytes =
      volume(p.kernel) * depth * p.groups * config.packed_n * accumulator_bytes(description);
  return ceil_div(bytes, 16) * 16;
}

// outputs, resident, taps: none. Else forward and grad_input: the weight in the accumulator's type,
// its columns padded to at most 8 where there are few; behind it forward's residues, 40 bytes each.
// grad_weight: `splits` partial results, see kMaxPartialBytes.
int64_t workspace_bytes(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const Config config = choose(description, device);
  if (config.scheme != Scheme::tiled && config.scheme != Scheme::gather) return 0;
  if (description.direction == Direction::grad_weight) {
    return config.splits * weight_elements(p) * accumulator_bytes(description);
  }
  constexpr int64_t kResidueBytes = 40;
  const int64_t residues = p.stride[0] + p.stride[1] + p.stride[2];
  return packed_bytes(description, config) + residues * kResidueBytes;
}

}  // namespace convt3d::cuda::direct
