// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_weight/halo_weight.h"

#include <algorithm>

#include "cuda/halo_weight/config.h"
#include "cuda/halo_weight/tuning.h"
#include "cuda/weight_gemm/weight_gemm.h"

namespace convt3d::cuda::halo_weight {

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != 90) return Verdict::refuse("its instructions are those of sm_90");
  if (description.direction != Direction::grad_weight) return Verdict::refuse("grad_weight only");
  if (element_bytes(description.precision) != kElementBytes) {
    return Verdict::refuse("float16 and bfloat16 only");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  if (std::min(p.in_channels, p.out_channels) < kMinChannels) {
    return Verdict::refuse("fewer than 8 in or out channels");
  }
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
  if (choose(description, device).units == 0) {
    return Verdict::refuse("too many taps, or taps too far apart for shared memory");
  }
  return Verdict::accept();
}

std::string config(const Description& description, const Device& device) {
  return to_string(choose(description, device));
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const Config config = choose(description, device);
  return std::max(pieces_bytes(config) + packed_input_bytes(description, config) +
                      packed_output_bytes(description, config),
                  weight_gemm::workspace_bytes(description, device));
}

}  // namespace convt3d::cuda::halo_weight
