// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/common/cuda_check.h"
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
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
            "shuffle_gemm attribute");
      const auto blocks = static_cast<unsigned>(config.slices * config.walkers);
      kernel<<<blocks, Tile::kThreads, bytes, call.stream>>>(call.params);
      check(cudaGetLastError(), "shuffle_gemm kernel");
    }
  });
}

}  // namespace convt3d::cuda::shuffle_gemm
