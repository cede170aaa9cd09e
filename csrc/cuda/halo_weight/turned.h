// SPDX-License-Identifier: BSD-3-Clause
// Weights whose out_channels are not contiguous: blocks that have whole jobs store their sums to
// the workspace, as [in_channel][tap][out_channel], and a launch turns them (turn.cu). Plain C++.
#pragma once
#include <cstdint>

#include "cuda/halo_weight/tuning.h"
#include "geometry/ceil_div.h"
#include "plan/description.h"

namespace convt3d::cuda::halo_weight {

inline bool needs_turning(const Description& description) {
  return description.weight != Layout::ndhwc;
}

// Whether blocks may have whole jobs.
inline bool stores_directly(const Description& description) {
  return !needs_turning(description) || description.problem.in_channels <= kMostTurned;
}

// Elements of a row of out_channels: whole pieces of 16 bytes.
inline int64_t turned_row(const Description& description) {
  const int64_t piece = 16 / element_bytes(description.precision);
  return ceil_div(description.problem.out_channels, piece) * piece;
}

inline int64_t turned_bytes(const Description& description) {
  const Problem& p = description.problem;
  return p.in_channels * volume(p.kernel) * turned_row(description) *
         element_bytes(description.precision);
}

inline double turn_clocks(const Description& description) {
  if (!needs_turning(description)) return 0;
  return kTurnClocks + 2.0 * static_cast<double>(turned_bytes(description)) / kTurnBytesPerClock;
}

}  // namespace convt3d::cuda::halo_weight
