// SPDX-License-Identifier: BSD-3-Clause
// The choice of a box of positions, for the gradients. Plain C++.
#pragma once
#include <algorithm>
#include <cstdint>

#include "cuda/column_gemm/cells.h"
#include "cuda/column_gemm/tuning.h"
#include "cuda/common/grad_weight_cuts.h"

namespace convt3d::cuda::column_gemm {

inline int64_t columns(const Problem& p) { return volume(p.kernel) * p.out_channels; }

// `c` with the cells whose estimate is least; without shared memory, if none fit. complete(&c): all
// that follows from the cells, and bytes of a stage, or 0; estimate(c, stage): clocks.
template <typename Config, typename Complete, typename Estimate>
Config best_positions(const Problem& p, Config c, const Complete& complete,
                      const Estimate& estimate) {
  Config best{};
  double least = 0;
  for (int64_t length : cuts(p.input[2], kLongestLine, kMostCuts)) {
    // A box starts where 16 bytes of grad_output may.
    const int64_t wide = length == p.input[2] ? length : round_up(length, 8);
    for (int64_t d = 1; d <= std::min<int64_t>(p.input[0], kMaxBoxCells); ++d) {
      for (int64_t h = 1; h <= std::min<int64_t>(p.input[1], kMaxBoxCells); ++h) {
        c.cells = {static_cast<int>(d), static_cast<int>(h), static_cast<int>(wide)};
        for (int axis = 0; axis < 3; ++axis) {
          c.tiles[axis] = static_cast<int>(ceil_div(p.input[axis], c.cells[axis]));
        }
        const int64_t stage = complete(&c);
        if (stage == 0) continue;
        const double clocks = estimate(c, stage);
        if (best.shared == 0 || clocks < least) {
          best = c;
          least = clocks;
        }
      }
    }
  }
  return best;
}

}  // namespace convt3d::cuda::column_gemm
