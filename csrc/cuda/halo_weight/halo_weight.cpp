// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_weight/halo_weight.h"

#include <algorithm>
#include <array>

#include "cuda/halo_weight/config.h"
#include "cuda/halo_weight/fold.h"
#include "cuda/halo_weight/tuning.h"
#include "cuda/halo_weight/turned.h"
#include "cuda/halo_weight/walk_config.h"
#include "cuda/weight_gemm/weight_gemm.h"

namespace convt3d::cuda::halo_weight {
namespace {

// Of the launch that turns grad_output into rows of channels, where it is none.
template <typename AnyConfig>
double output_pack_clocks(const Description& fold, const AnyConfig& c) {
  return 2.0 * static_cast<double>(packed_output_bytes(fold, c)) / kMemoryBytesPerClock;
}

// The part of grad_output's positions that any tap meets.
double part_read(const Problem& p) {
  double part = 1;
  for (int axis = 0; axis < 3; ++axis) {
    std::array<bool, kMaxStride> met{};
    int64_t residues = 0;
    for (int64_t tap = 0; tap < p.kernel[axis]; ++tap) {
      bool& residue = met[static_cast<size_t>(p.dilation[axis] * tap % p.stride[axis])];
      residues += residue ? 0 : 1;
      residue = true;
    }
    part *= static_cast<double>(residues) / static_cast<double>(p.stride[axis]);
  }
  return part;
}

}  // namespace

Description fold_of(const Description& description, const Device& device) {
  const Description fold = folded(description);
  const Description best = best_fold(
      description, [&](const Description& layer) { return choose(layer, device); },
      output_pack_clocks<Config>);
  // Walks are of the layer without positions as channels.
  const WalkConfig walk = choose_walk(fold, device);
  const bool slower = walk.units > 0 && kWalkMargin * walk.clocks < choose(best, device).clocks;
  return slower || walks(best, device) ? fold : best;
}

bool walks(const Description& fold, const Device& device) {
  const WalkConfig walk = choose_walk(fold, device);
  return walk.units > 0 && kWalkMargin * walk.clocks < choose(fold, device).clocks;
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != 90) return Verdict::refuse("its instructions are those of sm_90");
  if (description.direction != Direction::grad_weight) return Verdict::refuse("grad_weight only");
  if (element_bytes(description.precision) != kElementBytes) {
    return Verdict::refuse("float16 and bfloat16 only");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  if (std::max(p.in_channels, p.out_channels) > kMaxChannels) {
    return Verdict::refuse("more than 2**20 channels");
  }
  if (p.batch < 1 || p.batch > kMaxExtent) return Verdict::refuse("an empty or very large batch");
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    if (p.stride[axis] > kMaxStride) return Verdict::refuse("a stride above 8");
    if (std::max(p.input[axis], output[axis]) > kMaxExtent ||
        p.dilation[axis] * p.kernel[axis] + p.padding[axis] > kMaxReach) {
      return Verdict::refuse("larger than its coordinates hold");
    }
  }
  if (volume(p.kernel) > kMaxTaps) return Verdict::refuse("more than 512 taps");
  // Whom unaligned tensors fall back to.
  const Verdict fallback = weight_gemm::supports(description, device);
  if (!fallback.ok) return fallback;
  const Description fold = fold_of(description, device);
  if (std::min(fold.problem.in_channels, fold.problem.out_channels) <= kFewChannels &&
      fold.problem.in_channels * fold.problem.out_channels <= kFewPairs) {
    return Verdict::refuse("at most 8 channels on one side and 256 pairs of them");
  }
  const Config config = choose(fold, device);
  if (config.units == 0) {
    return Verdict::refuse("too many taps, or taps too far apart for shared memory");
  }
  if (config.packed_output && part_read(fold.problem) < kLeastRead) {
    return Verdict::refuse("grad_output is no rows of channels, and taps meet little of it");
  }
  return Verdict::accept();
}

std::string config(const Description& description, const Device& device) {
  const Description fold = fold_of(description, device);
  const std::string taps = fold_name(description, fold);
  if (walks(fold, device)) return to_string(choose_walk(fold, device)) + taps;
  return to_string(choose(fold, device)) + taps;
}

double clocks(const Description& description, const Device& device) {
  const Description fold = fold_of(description, device);
  const auto all = [&](const auto& c) { return c.clocks + output_pack_clocks(fold, c); };
  return walks(fold, device) ? all(choose_walk(fold, device)) : all(choose(fold, device));
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const Description fold = fold_of(description, device);
  const auto bytes = [&](const auto& config) {
    return pieces_bytes(config) + packed_input_bytes(fold, config) +
           packed_output_bytes(fold, config) + (config.turned ? turned_bytes(fold) : 0);
  };
  return std::max(
      walks(fold, device) ? bytes(choose_walk(fold, device)) : bytes(choose(fold, device)),
      weight_gemm::workspace_bytes(description, device));
}

}  // namespace convt3d::cuda::halo_weight
