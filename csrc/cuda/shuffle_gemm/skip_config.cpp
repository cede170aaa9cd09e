// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/shuffle_gemm/skip_config.h"

#include "cuda/sm90/chain.h"

namespace convt3d::cuda::shuffle_gemm {

bool skips_fit(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const Precision precision = description.precision;
  if (device.arch != 90 || description.direction != Direction::grad_input) return false;
  if (precision == Precision::fp64 || precision == Precision::fp32) return false;
  if (p.groups != 1 || p.padding != Extent3{} || volume(p.kernel) != 1) return false;
  if (volume(p.stride) == 1 || volume(p.input) < kSkipPositions) return false;
  if (description.input != Layout::ncdhw || description.output != Layout::ncdhw) return false;
  const int64_t element = element_bytes(precision);
  const int64_t chain = ceil_div(p.out_channels * element, int64_t{32});
  return chain <= sm90::max_chain(precision) &&
         skip_shared_bytes(p.in_channels, p.out_channels, element) <= kSkipShared;
}

std::string skip_text(const Description& description) {
  const Problem& p = description.problem;
  const int64_t tiles = p.batch * ceil_div(volume(p.input), int64_t{kSkipPositions});
  return "pointwise with skipped outputs, " + std::to_string(tiles) + " tiles of " +
         std::to_string(kSkipPositions);
}

}  // namespace convt3d::cuda::shuffle_gemm
