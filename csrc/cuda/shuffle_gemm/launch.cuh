// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/shuffle_gemm/call.h"
#include "cuda/shuffle_gemm/kernel.cuh"

namespace convt3d::cuda::shuffle_gemm {

template <Precision kPrecision, Direction kDirection>
void run(const Call& call) {
  const Config& config = call.config;
  with_tile(config.tile, [&](auto tile) {
    using Tile = decltype(tile);
    if constexpr (is_built(Tile::kKind, kPrecision, kDirection)) {
      const auto kernel = call.channels_inner ? shuffle_kernel<kPrecision, Tile, kDirection, true>
                                              : shuffle_kernel<kPrecision, Tile, kDirection, false>;
      allow_shared_memory(kernel, "shuffle_gemm attribute");
      const auto blocks = static_cast<unsigned>(config.slices * config.walkers * config.splits);
      launch_grid("shuffle_gemm kernel", kernel,
                  {blocks, Tile::kThreads, static_cast<int>(config.shared_bytes), call.stream,
                   false, static_cast<int>(config.splits)},
                  call.params);
    }
  });
}

}  // namespace convt3d::cuda::shuffle_gemm
