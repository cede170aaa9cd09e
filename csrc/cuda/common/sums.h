// SPDX-License-Identifier: BSD-3-Clause
// How long sums are: what float32 can be computed in depends on it.
#pragma once
#include <algorithm>

#include "plan/description.h"

namespace convt3d::cuda {

// Products of a sum, averaged over the residues that have taps.
inline int64_t products_of_sum(const Description& description) {
  const Problem& p = description.problem;
  if (description.direction == Direction::grad_weight) return p.batch * volume(p.input);
  const bool forward = description.direction == Direction::forward;
  int64_t products = forward ? p.in_channels_per_group() : p.out_channels_per_group();
  products *= volume(p.kernel);
  if (!forward) return products;
  for (size_t a = 0; a < 3; ++a) products /= std::min(p.kernel[a], p.stride[a]);
  return products;
}

}  // namespace convt3d::cuda
