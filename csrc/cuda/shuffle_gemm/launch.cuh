// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
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
      const int bytes = static_cast<int>(config.shared_bytes);
      allow_shared_memory(kernel, "shuffle_gemm attribute");
      cudaLaunchAttribute cluster{};
      cluster.id = cudaLaunchAttributeClusterDimension;
      cluster.val.clusterDim = {static_cast<unsigned>(config.splits), 1, 1};
      cudaLaunchConfig_t launch{};
      launch.gridDim = static_cast<unsigned>(config.slices * config.walkers * config.splits);
      launch.blockDim = Tile::kThreads;
      launch.dynamicSmemBytes = bytes;
      launch.stream = call.stream;
      launch.attrs = &cluster;
      launch.numAttrs = config.splits > 1;
      check(cudaLaunchKernelEx(&launch, kernel, call.params), "shuffle_gemm kernel");
    }
  });
}

}  // namespace convt3d::cuda::shuffle_gemm
