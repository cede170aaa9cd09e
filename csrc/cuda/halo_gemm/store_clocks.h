// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <algorithm>

#include "cuda/halo_gemm/config.h"
#include "cuda/halo_gemm/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {

// Estimated clocks of storing a tile of one residue. `every`: outputs of it along w are so far
// apart.
inline double store_clocks(const Config& config, int64_t element_bytes, int64_t every) {
  const double outputs = static_cast<double>(config.warpgroups) * kGroupRows * config.channels;
  const double bytes = outputs * static_cast<double>(element_bytes) / kOutputBytesPerClock;
  if (config.stretches) {
    const double rounds = static_cast<double>(ceil_div(config.channels, 16));
    const double stretches = 1 + (kGroupRows - 1.0) / config.pitch;
    return std::max(bytes, config.warpgroups * rounds / config.fused *
                               (kRoundClocks + kStretchClocks * stretches));
  }
  if (config.piece_positions > 0) return outputs / 32 * kPieceClocks;
  const bool sparse = every > 1 && config.fused == 1;
  if (config.lines_out) return outputs / 32 * (sparse ? kSparseLineClocks : kLineClocks);
  return bytes;
}

}  // namespace convt3d::cuda::halo_gemm
