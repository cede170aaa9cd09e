// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/few_channels.h"

#include <algorithm>

#include "cuda/common/folded.h"
#include "cuda/common/resident.h"
#include "cuda/common/sums.h"
#include "cuda/few_channels/config.h"
#include "cuda/few_channels/gathered_config.h"
#include "cuda/few_channels/march_config.h"
#include "cuda/few_channels/matrix_config.h"
#include "cuda/few_channels/tuning.h"
#include "cuda/few_channels/weight_config.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::few_channels {
namespace {

// The call as a sum over the channels `in` of a group for each of its channels `out`, from a tensor
// of one layout to one of another: in grad_input the tensors change places.
struct Roles {
  int64_t in, out, all_outs;
  Layout source, result;
};

Roles roles(const Description& description) {
  const Problem& p = description.problem;
  if (description.direction == Direction::grad_input) {
    return {p.out_channels_per_group(), p.in_channels_per_group(), p.in_channels,
            description.output, description.input};
  }
  return {p.in_channels_per_group(), p.out_channels_per_group(), p.out_channels, description.input,
          description.output};
}

// Stride 2, kernel 3 or 4 on all axes, enough to sum and little to hold.
bool scatters(const Description& description) {
  const Problem& p = description.problem;
  const int64_t kernel = p.kernel[0];
  if (description.direction != Direction::forward || (kernel != 3 && kernel != 4)) return false;
  for (int axis = 0; axis < 3; ++axis) {
    if (p.kernel[axis] != kernel || p.stride[axis] != 2 || p.dilation[axis] != 1) return false;
  }
  return p.groups == 1 && p.in_channels >= kMinScatterIns && p.out_channels <= kMaxScatterOuts;
}

// Whether threads lie side by side on channels.
bool channels_last(const Roles& r) {
  return r.result == Layout::ndhwc || (r.source == Layout::ndhwc && r.all_outs == 1);
}

// Taps on w that an instance is made for. Threads side by side on w want elements side by side.
int taps_width(const Description& description, const Config& config, Layout source) {
  const Problem& p = description.problem;
  const bool gather = description.direction == Direction::grad_input;
  const bool packed = source == Layout::ncdhw && p.dilation[2] == 1;
  const bool planes = config.mapping == Mapping::planes;
  if (planes && !packed) return 0;
  if (planes && !gather && p.stride[2] == 2 && config.outs == 1 && p.kernel[2] == 2) return 2;
  if (planes && gather && config.outs == 8 && p.kernel[2] == 4) return 4;
  return unrolls_taps(config.mapping, gather, config.ins) && p.kernel[2] == 3 ? 3 : 0;
}

// Taps for all threads of a block.
bool long_sums(const Description& description) {
  return description.direction == Direction::grad_input &&
         volume(description.problem.kernel) >= kMinLongTaps;
}

bool choose_scatter(const Description& description, const Roles& r, Config* config) {
  if (!scatters(description)) return false;
  const int kernel = static_cast<int>(description.problem.kernel[0]);
  config->mapping = Mapping::scatter;
  config->outs = kernel == 3 && r.out > 1 ? 2 : 1;
  config->ins = r.in % 4 == 0 ? 4 : 1;
  config->taps_w = kernel;
  config->lanes = 1;
  config->tile_outs = config->outs;
  config->tiles = ceil_div(r.out, config->outs);
  // The weights, and the shares that positions exchange at once.
  config->shared =
      (r.in * scatter_row(kernel, config->outs) + 4 * kernel * config->outs * kPositions) *
      int64_t{sizeof(float)};
  return config->shared <= kMaxShared;
}

// Whether sums are so short that one chain is as good as torch's: threads with eight out channels
// have no second one.
bool may_have_one_chain(const Description& description, const Roles& r) {
  return r.in * volume(description.problem.kernel) <= kMaxSingleChain &&
         (element_bytes(description.precision) == 2 || products_of_sum(description) <= kChain);
}

// NDHWC, in the order of kernel.cuh: channels that a thread loads and keeps.
void choose_channels(const Description& description, const Roles& r, Config* config) {
  const Problem& p = description.problem;
  const bool gather = description.direction == Direction::grad_input;
  const bool depthwise = r.out == 1 && r.in <= 2 && p.groups > 1;
  config->mapping = depthwise ? Mapping::depthwise : Mapping::channels;
  config->outs = depthwise || p.groups == 1 || r.out % 4 == 0 ? 4 : r.out % 2 == 0 ? 2 : 1;
  if (p.groups == 1 && r.out <= 2) config->outs = static_cast<int>(r.out);
  // In fp32 eight pay only where a group's inputs serve no other thread.
  const bool eight = gather || p.groups > 1 || element_bytes(description.precision) == 2;
  if (!depthwise && eight && r.out % 8 == 0 && may_have_one_chain(description, r)) {
    config->outs = 8;
  }
  const bool four = r.in % 4 == 0 && (gather ? config->outs >= 4 : config->outs < 8);
  config->ins = depthwise ? static_cast<int>(4 * r.in) : four ? 4 : 1;
  const int64_t blocks = ceil_div(r.all_outs, config->outs);
  const int64_t lane_bytes = volume(p.kernel) * r.in * config->outs * int64_t{sizeof(float)};
  const int64_t most = std::clamp<int64_t>(kWantedShared / lane_bytes, 1, kMaxLanes);
  config->tiles = ceil_div(blocks, most);
  config->lanes = static_cast<int>(ceil_div(blocks, config->tiles));
  config->tile_outs = config->lanes * config->outs;
}

}  // namespace

Config choose(const Description& description) {
  const Problem& p = description.problem;
  const Roles r = roles(description);
  Config config{};
  if (choose_scatter(description, r, &config)) return config;
  config = Config{};
  if (long_sums(description)) {
    config.mapping = Mapping::taps;
    return config;
  }
  config.lanes = 1;
  config.ins = 1;
  if (!channels_last(r)) {
    const bool eight = may_have_one_chain(description, r);
    config.mapping = Mapping::planes;
    config.outs = r.out == 1 ? 1 : r.out == 2 ? 2 : r.out <= 4 || !eight ? 4 : 8;
    config.tile_outs = config.outs;
    config.tiles = p.groups * ceil_div(r.out, config.outs);
  } else if (p.groups == 1 && r.out <= 4 && r.in > 16) {
    config.mapping = Mapping::reduction;
    config.ins = r.in % 4 == 0 ? 4 : 1;
    config.outs = r.out <= 2 ? static_cast<int>(r.out) : 4;
    if (description.direction == Direction::grad_input && (r.out > 1 || config.ins == 1)) {
      config.outs = 4;
    }
    config.lanes = kReductionLanes;
    config.tile_outs = config.outs;
    config.tiles = 1;
  } else {
    choose_channels(description, r, &config);
  }
  config.taps_w = taps_width(description, config, r.source);
  config.shared = volume(p.kernel) * r.in * config.tile_outs * int64_t{sizeof(float)};
  return config;
}

const char* to_string(Mapping mapping) {
  const char* const names[] = {"planes", "channels", "depthwise", "reduction", "scatter", "taps"};
  return names[static_cast<int>(mapping)];
}

std::string to_string(const Config& config) {
  std::string text = to_string(config.mapping);
  if (config.mapping == Mapping::taps) return text;
  text += ", " + std::to_string(config.outs) + " out channels a thread";
  if (config.taps_w > 0) text += ", " + std::to_string(config.taps_w) + " taps on w";
  return text;
}

namespace {

Verdict supports_extents(const Problem& p) {
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
  return Verdict::accept();
}

Verdict supports_forward(const Problem& p) {
  if (p.kernel[2] > kMaxTapsW) return Verdict::refuse("more than 4 taps on w");
  if (p.stride[2] > 2) return Verdict::refuse("stride on w must be 1 or 2");
  if (p.stride[2] > 1 && p.dilation[2] > 1) {
    return Verdict::refuse("no dilation on w beside a stride there");
  }
  return Verdict::accept();
}

Verdict supports_grad_weight(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (p.kernel[0] > kMaxTapsRun || p.kernel[1] > kMaxTapsRun) {
    return Verdict::refuse("more than 64 taps on d or h");
  }
  if (p.batch * volume(p.input) < kMinWeightPositions) {
    return Verdict::refuse("grad_weight over fewer than 256 positions");
  }
  const bool planes = description.input == Layout::ncdhw && description.output == Layout::ncdhw;
  if (planes && p.dilation[2] > 1) return Verdict::refuse("no dilation on w in NCDHW");
  const WeightConfig config = choose_weight(description, device);
  if (config.blocks * config.splits > kMaxCount || config.pairs * config.tap_jobs > kMaxCount) {
    return Verdict::refuse("too many weights for 32-bit counts");
  }
  return Verdict::accept();
}

// grad_weight that weight_gemm, on the GPUs that it has kernels for, computes faster: of few
// positions or, in 16 bits, many weights; and of many channels on both sides, where it is 1.1 to 3
// times as fast. Not where its loads go element by element: channels that are no multiple of 16
// bytes (0.2 to 0.6 times as fast), and few channels at stride 2 in NCDHW (0.4 to 0.9 times).
bool is_left_to_weight_gemm(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.direction != Direction::grad_weight) return false;
  if (device.arch < 80 || device.arch > 90) return false;
  const int64_t in = p.in_channels_per_group(), out = p.out_channels_per_group();
  if (std::min(in, out) < kMinMatrixSide) return false;
  const bool narrow = element_bytes(description.precision) == 2;
  if (narrow && in * out * volume(p.kernel) >= kManyWeights) return true;
  if (p.batch * volume(p.input) <= kFewPositions && p.batch * volume(p.output()) <= kFewOutputs) {
    return true;
  }
  if (p.groups > 1 || std::min(in, out) < 16 || in % 8 != 0 || out % 8 != 0) return false;
  const bool spread = description.output == Layout::ncdhw && volume(p.stride) > 1 &&
                      volume(p.kernel) > 1 && volume(p.dilation) == 1;
  return !spread || in * out > kFewPairs;
}

}  // namespace

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.precision == Precision::fp64) return Verdict::refuse("no kernel for fp64");
  const Verdict extents = supports_extents(p);
  if (!extents.ok) return extents;
  if (is_folded_forward(description, device)) return Verdict::accept();
  const bool gathered = gathered_fits(description, device);
  if (taps_ins(description) > 0 && !gathered) {
    return Verdict::refuse("many taps over few positions: direct keeps them in shared memory");
  }
  if (is_left_to_weight_gemm(description, device)) {
    return Verdict::refuse("grad_weight of few positions or many weights: weight_gemm is faster");
  }
  if (matrix_fits(description, device)) return Verdict::accept();
  const Roles r = roles(description);
  if (description.direction == Direction::grad_weight) {
    if (r.in > kMaxOuts && r.out > kMaxOuts) {
      return Verdict::refuse("more than 8 in channels and more than 8 out channels per group");
    }
    if (gathered) return Verdict::accept();
    if (element_bytes(description.precision) == 2 && p.groups == 1 && device.arch >= 80 &&
        device.arch <= 90 && std::min(r.in, r.out) >= kMinMatrixSide && r.in * r.out > kManyPairs) {
      return Verdict::refuse("dense grad_weight of many pairs of channels: weight_gemm is faster");
    }
    return supports_grad_weight(description, device);
  }
  if (r.in > kMaxIns && r.out > kMaxOuts) {
    return description.direction == Direction::forward
               ? Verdict::refuse("more than 4 in channels and more than 8 out channels per group")
               : Verdict::refuse("more than 8 in channels and more than 4 out channels per group");
  }
  if (long_sums(description)) {
    const double results = static_cast<double>(p.batch) * static_cast<double>(p.in_channels) *
                           static_cast<double>(volume(p.input));
    return results < static_cast<double>(kMaxCount)
               ? Verdict::accept()
               : Verdict::refuse("too many results for 32-bit counts");
  }
  if (p.stride[0] > kMaxStride || p.stride[1] > kMaxStride) {
    return Verdict::refuse("strides on d and h must be at most 16");
  }
  if (description.direction == Direction::forward) {
    const Verdict forward = supports_forward(p);
    if (!forward.ok) return forward;
  }
  if (r.in <= 2 && r.out == 1 && p.groups > 1 && r.in * volume(p.kernel) > kMaxSingleChain) {
    return Verdict::refuse("depthwise sums of more than 512 products");
  }
  if (choose(description).shared > kMaxShared) {
    return Verdict::refuse("the weights of a block of out channels must fit 96 KB as float32");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const bool matrix = matrix_fits(description, device);
  if (!matrix && gathered_fits(description, device))
    return gathered_workspace_bytes(description, device);
  if (description.direction != Direction::grad_weight) return 0;
  const Problem& p = description.problem;
  const int64_t splits = matrix ? choose_matrix(description, device).splits
                                : choose_weight(description, device).splits;
  const int64_t parts = matrix || splits > 1 ? splits : 0;
  const int64_t bytes = parts * p.in_channels * p.out_channels_per_group() * volume(p.kernel) *
                        int64_t{sizeof(float)};
  if (!march_fits(description, device)) return bytes;
  return std::max(bytes, march_workspace_bytes(description, device));  // whichever strides allow
}

std::string config(const Description& description, const Device& device) {
  if (is_folded_forward(description, device)) {
    return "folded taps, " + std::to_string(choose_folded(description, device).blocks) +
           " blocks of an out channel";
  }
  if (matrix_fits(description, device)) return to_string(choose_matrix(description, device));
  if (gathered_fits(description, device)) return to_string(choose_gathered(description, device));
  if (march_fits(description, device)) return to_string(choose_march(description, device));
  return description.direction == Direction::grad_weight
             ? to_string(choose_weight(description, device))
             : to_string(choose(description));
}

}  // namespace convt3d::cuda::few_channels
