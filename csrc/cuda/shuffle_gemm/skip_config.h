// SPDX-License-Identifier: BSD-3-Clause
// grad_input of pointwise layers with a stride in NCDHW (skip_kernel.cuh): most outputs are
// skipped. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "geometry/ceil_div.h"
#include "plan/description.h"

namespace convt3d::cuda::shuffle_gemm {

// A warpgroup; blocks on an SM as registers allow.
inline constexpr int kSkipThreads = 128, kSkipBlocks = 5;
// Of a tile: positions, and in_channels that are multiplied at a time.
inline constexpr int kSkipPositions = 64, kSkipColumns = 64;
// out_channels that are loaded at a time: a warp has 8 of them.
inline constexpr int kSkipDepth = 32;
// Weights of a block, and two tiles. Limit: three blocks on an SM, so that enough loads are under
// way.
inline constexpr int64_t kSkipShared = 74 * 1024;

constexpr int64_t skip_shared_bytes(int64_t in_channels, int64_t out_channels, int64_t element) {
  const int64_t depth = ceil_div(out_channels, int64_t{kSkipDepth}) * kSkipDepth;
  const int64_t columns = ceil_div(in_channels, int64_t{kSkipColumns}) * kSkipColumns;
  return depth * (columns + 2 * kSkipPositions) * element;
}

// Whether there is a kernel for such a call.
bool skips_fit(const Description& description, const Device& device);
std::string skip_text(const Description& description);

}  // namespace convt3d::cuda::shuffle_gemm
