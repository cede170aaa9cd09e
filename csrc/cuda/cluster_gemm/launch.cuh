// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/cluster_gemm/kernel.cuh"
#include "cuda/cluster_gemm/launch.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"

namespace convt3d::cuda::cluster_gemm {

template <typename Tile>
void run_tile(const Launch& call) {
  const auto kernel = cluster_gemm_kernel<Tile>;
  allow_shared_memory(kernel, "cluster_gemm attribute");
  launch_grid("cluster_gemm kernel", kernel,
              {call.blocks, kThreads, Tile::kBytes, call.stream, call.second, call.config.splits},
              call.params, call.maps);
}

template <Precision kPrecision>
void run(const Launch& call) {
  if (call.config.columns == 64) return run_tile<Tile<kPrecision, 256, 64>>(call);
  if (call.config.rows == 256) return run_tile<Tile<kPrecision, 256, 128>>(call);
  if (call.config.columns == 256) return run_tile<Tile<kPrecision, 128, 256>>(call);
  run_tile<Tile<kPrecision, 128, 128>>(call);
}

}  // namespace convt3d::cuda::cluster_gemm
