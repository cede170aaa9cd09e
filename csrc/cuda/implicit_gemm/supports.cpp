// SPDX-License-Identifier: BSD-3-Clause
// Which problems implicit_gemm and mma_gemm take: limits of their tiles, and where others are
// faster.
#include <algorithm>
#include <cstdint>

#include "cuda/common/sums.h"
#include "cuda/few_channels/few_channels.h"
#include "cuda/implicit_gemm/config.h"
#include "cuda/implicit_gemm/tuning.h"
#include "cuda/subpixel_gemm/subpixel_gemm.h"

namespace convt3d::cuda::implicit_gemm {
namespace {

// float32: weights of one channel of grad_input, up to which few_channels is faster and has room
// for them in shared memory.
constexpr int64_t kMaxGroupWeights = 900;
// The same in 16 bits: beyond, this family was 4 to 13 times as fast in six random problems (H200,
// 2026-11-22).
constexpr int64_t kMaxNarrowGroupWeights = 1600;
// Taps from which few_channels takes 32-bit grad_input of eight out channels.
constexpr int64_t kMinLineTaps = 16;

// Whether fewer than kMinChannels channels on a side are worth their padding: where sums are long.
bool pays_for_few_channels(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t in = p.in_channels_per_group(), out = p.out_channels_per_group();
  const int64_t taps = volume(p.kernel), residues = volume(p.stride);
  const bool forward = description.direction == Direction::forward;
  const int64_t sum = products_of_sum(description);
  if (description.precision == Precision::fp32 && sum < kMinFewFloatSum) return false;
  if (forward) {
    if (residues > kFewResidues) return false;
    if (p.groups == 1 && in >= kFewForwardIns) return true;
    const bool many = out >= kManyOuts && p.batch * volume(p.input) >= kManyPositions;
    return (in >= kFewIns || many) && !few_channels::supports(description, device).ok &&
           !subpixel_gemm::supports(description, device).ok;
  }
  const bool narrow_groups = p.groups > 1 && element_bytes(description.precision) == 2;
  if (sum > (narrow_groups ? kMaxNarrowGroupWeights : kFewSum)) return true;
  return taps >= kFewTaps && residues <= kFewResidues &&
         (p.groups == 1 || std::max(in, out) >= kMinChannels) &&
         !few_channels::supports(description, device).ok;
}

// Many residues of a small result: subpixel_gemm multiplies them at once, and not one by one.
bool is_left_to_subpixel_gemm(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (volume(p.stride) <= kFewResidues) return false;
  const int64_t taps = volume(p.kernel);
  const bool left =
      description.direction == Direction::forward
          ? p.batch * volume(p.output()) <= kSmallResult &&
                (taps > kSmallResultTaps || p.in_channels_per_group() <= kSmallResultIns)
          : useful_flops(p) <= kSmallGradInput &&
                p.out_channels_per_group() * taps > kSmallGradInputSum;
  return left && subpixel_gemm::supports(description, device).ok;
}

Verdict supports_channels(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (std::min(p.in_channels_per_group(), p.out_channels_per_group()) < kMinChannels) {
    return pays_for_few_channels(description, device)
               ? Verdict::accept()
               : Verdict::refuse("fewer than 8 in_channels or out_channels per group, short sums");
  }
  const int64_t columns = description.direction == Direction::forward ? p.out_channels_per_group()
                                                                      : p.in_channels_per_group();
  if (description.precision == Precision::fp32 && p.groups == 1 && columns <= kMinChannels) {
    return Verdict::refuse("float32 with at most 8 channels in the result");
  }
  const bool narrow = element_bytes(description.precision) == 2;
  if (p.groups > 1 && columns <= kMinChannels &&
      (volume(p.kernel) < kMinGroupTaps ||
       (description.direction == Direction::grad_input &&
        volume(p.kernel) * p.out_channels_per_group() <=
            (narrow ? kMaxNarrowGroupWeights : kMaxGroupWeights)))) {
    return Verdict::refuse("at most 8 channels of a group in the result, and too few taps");
  }
  // Measured in NCDHW, 8 -> 16 of 4 x 96 x 64 x 80, k3 s2: 0.40 ms against 0.64 in TF32, 0.55
  // against 0.74 in float32; as fast, or slower, in NDHWC.
  const bool lines = description.output == Layout::ncdhw && volume(p.kernel) >= kMinLineTaps;
  if ((narrow || lines) && description.direction == Direction::grad_input && p.groups == 1 &&
      p.out_channels <= kMinChannels && p.in_channels <= 2 * kMinChannels && volume(p.stride) > 1 &&
      volume(p.kernel) <= kMinGroupTaps) {
    return Verdict::refuse("grad_input of so few channels: few_channels is faster");
  }
  return Verdict::accept();
}

}  // namespace

Verdict supports_problem(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.direction == Direction::grad_weight) return Verdict::refuse("no grad_weight");
  if (description.precision == Precision::fp64) return Verdict::refuse("no float64");
  if (description.precision == Precision::fp32 && products_of_sum(description) < kMinFloatSum) {
    return Verdict::refuse("float32 sums of fewer than 16 products: three TF32 products are worse");
  }
  const Verdict channels = supports_channels(description, device);
  if (!channels.ok) return channels;
  if (std::max(p.in_channels, p.out_channels) > kMaxChannels || p.batch > kMaxExtent) {
    return Verdict::refuse("more channels or batch than 32-bit coordinates hold");
  }
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    if (p.stride[axis] > kMaxStride) return Verdict::refuse("a stride above 8");
    if (std::max({p.input[axis], output[axis], p.padding[axis],
                  p.dilation[axis] * p.kernel[axis]}) > kMaxExtent) {
      return Verdict::refuse("larger than 32-bit coordinates hold");
    }
  }
  if (volume(p.kernel) > kMaxTaps) return Verdict::refuse("more than 1024 taps");
  if (is_left_to_subpixel_gemm(description, device)) {
    return Verdict::refuse("many residues of a small result: subpixel_gemm is faster");
  }
  return Verdict::accept();
}

}  // namespace convt3d::cuda::implicit_gemm
