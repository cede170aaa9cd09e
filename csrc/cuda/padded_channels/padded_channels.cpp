// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/padded_channels/padded_channels.h"

#include <algorithm>
#include <numeric>

#include "cuda/common/kept_answer.h"
#include "cuda/padded_channels/config.h"
#include "cuda/padded_channels/tuning.h"
#include "cuda/sm90/row_copy_limits.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::padded_channels {
namespace {

// In whole pieces of 16 bytes.
int64_t padded(int64_t channels, const Description& d) {
  return round_up(channels, kRowBytes / element_bytes(d.precision));
}

// The first other family that takes it.
const Candidate* first_of(const Description& description, const Device& device) {
  for (const Candidate& candidate : candidates(description.direction, device)) {
    if (candidate.family == Family::padded_channels) continue;
    if (candidate.supports(description, device).ok) return &candidate;
  }
  return nullptr;
}

// Whether all of the output belongs to residues with taps: else a copy of it is mostly of what no
// product needs.
bool reaches_all(const Problem& p) {
  for (int axis = 0; axis < 3; ++axis) {
    if (p.kernel[axis] < p.stride[axis]) return false;
    if (std::gcd(p.stride[axis], p.dilation[axis]) != 1) return false;
  }
  return true;
}

// Why it would not be faster; null where it is. What costs more than copies is sums stored element
// by element, and gathering them so. Each case measured, H200 (docs/kernels/padded_channels.md).
const char* why_not(const Description& description, const Device& device, const Config& config) {
  const Problem &p = description.problem, &q = config.padded.problem;
  const bool forward = description.direction == Direction::forward;
  const bool odd_in = q.in_channels != p.in_channels, odd_out = q.out_channels != p.out_channels;
  const bool wide = element_bytes(description.precision) == 4;
  const int64_t bytes =
      element_bytes(description.precision) *
      (p.batch * (p.in_channels * volume(p.input) + p.out_channels * volume(p.output())) +
       p.in_channels * p.out_channels * volume(p.kernel));
  if (std::min(p.in_channels, p.out_channels) < kMinChannels ||
      2 * q.in_channels > 3 * p.in_channels || 2 * q.out_channels > 3 * p.out_channels) {
    return "few channels";
  }
  if (bytes < kMinBytes) return "so few bytes that launches take longer";
  const Candidate* const other = first_of(description, device);
  if (other == nullptr) return "no family to compare with";
  const Family instead = other->family, inner = config.inner->family;
  if (description.direction == Direction::grad_weight) {
    const auto gathers = [](Family family) {
      return family == Family::few_channels || family == Family::tap_gemm ||
             family == Family::weight_gemm || family == Family::direct;
    };
    if (gathers(instead) && !gathers(inner)) return nullptr;
    return "the family that takes it pads what it reads";
  }
  if (instead == Family::shuffle_gemm) {
    const bool reads = odd_in && !odd_out && forward != wide && volume(p.kernel) > 1;
    if (reads && bytes >= kMinShuffledBytes) return nullptr;
    return "shuffle_gemm takes it as it is";
  }
  if (instead != Family::halo_gemm && instead != Family::implicit_gemm) {
    return "the family that takes it has few positions, or few channels";
  }
  // halo_gemm's kernels that march through few channels of grad_output take whole pieces alone.
  const bool marches = !forward && q.out_channels <= kMarchedChannels && p.stride[2] > 1;
  if (!marches && !(forward ? odd_out : odd_in))
    return "the family that takes it stores whole pieces";
  if (odd_out && !reaches_all(p)) return "residues of the output without taps";
  if (forward && inner != Family::halo_gemm) return "no faster family for padded channels";
  const bool in_parts = q.out_channels > kWholeColumns && q.out_channels <= kPartColumns;
  if (forward && !wide && !odd_in && in_parts && p.stride[2] > 1) {
    return "halo_gemm would store parts of sectors";
  }
  return nullptr;
}

Config search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  Config config;
  config.padded = description;
  Problem& q = config.padded.problem;
  q.in_channels = padded(p.in_channels, description);
  q.out_channels = padded(p.out_channels, description);
  if (q.in_channels == p.in_channels && q.out_channels == p.out_channels) return config;
  config.padded.weight = Layout::ndhwc;
  const int64_t bytes = element_bytes(description.precision);
  const auto copy_bytes = [&](int64_t elements) { return round_up(elements * bytes, kAlign); };
  if (q.in_channels != p.in_channels) {
    config.input = copy_bytes(q.batch * q.in_channels * volume(q.input));
  }
  if (q.out_channels != p.out_channels) {
    config.output = copy_bytes(q.batch * q.out_channels * volume(q.output()));
    if (description.has_bias) config.bias = copy_bytes(q.out_channels);
  }
  config.weight = copy_bytes(q.in_channels * q.out_channels * volume(q.kernel));
  config.inner = first_of(config.padded, device);
  if (config.inner != nullptr) config.why_not = why_not(description, device, config);
  return config;
}

}  // namespace

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != 90) return Verdict::refuse("the families that it pads for are those of sm_90");
  if (description.precision == Precision::fp64 || description.precision == Precision::fp32) {
    return Verdict::refuse("float16, bfloat16 and TF32 only");
  }
  if (description.input != Layout::ndhwc || description.output != Layout::ndhwc) {
    return Verdict::refuse("channels_last_3d input and output only");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  const int64_t in = padded(p.in_channels, description);
  const int64_t out = padded(p.out_channels, description);
  if (in == p.in_channels && out == p.out_channels) {
    return Verdict::refuse("channels are in whole pieces of 16 bytes");
  }
  const int64_t bytes = element_bytes(description.precision);
  if (!sm90::can_copy_rows(in, out, bytes)) {
    return Verdict::refuse("more channels than a block copies");
  }
  if (p.batch * volume(p.input) > kMaxRows || p.batch * volume(p.output()) > kMaxRows) {
    return Verdict::refuse("more rows than it copies");
  }
  if (in * out * volume(p.kernel) > kMaxWeight) return Verdict::refuse("a larger weight than 2^30");
  const Config config = choose(description, device);
  if (config.inner == nullptr) return Verdict::refuse("no family to pad for");
  if (config.why_not != nullptr) return Verdict::refuse(config.why_not);
  return Verdict::accept();
}

std::string config(const Description& description, const Device& device) {
  const Config config = choose(description, device);
  const Problem &p = description.problem, &q = config.padded.problem;
  const auto part = [](bool copied, int64_t from, int64_t to, const char* name) {
    return copied ? std::to_string(from) + " " + name + " as " + std::to_string(to) + ", "
                  : std::string();
  };
  return part(config.input > 0, p.in_channels, q.in_channels, "in_channels") +
         part(config.output > 0, p.out_channels, q.out_channels, "out_channels") +
         to_string(config.inner->family) + ": " + config.inner->config(config.padded, device);
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const Config config = choose(description, device);
  return config.input + config.weight + config.output + config.bias +
         config.inner->workspace_bytes(config.padded, device);
}

}  // namespace convt3d::cuda::padded_channels
