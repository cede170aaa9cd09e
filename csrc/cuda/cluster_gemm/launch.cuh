// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/cluster_gemm/kernel.cuh"
#include "cuda/cluster_gemm/launch.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"

namespace convt3d::cuda::cluster_gemm {

template <typename Tile>
void run_tile(const Launch& call) {
  const auto kernel = cluster_gemm_kernel<Tile>;
  allow_shared_memory(kernel, "cluster_gemm attribute");
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (call.config.splits > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {static_cast<unsigned>(call.config.splits), 1, 1};
  }
  if (call.second) attributes[count++] = sm90::overlapping_launch();
  cudaLaunchConfig_t launch{};
  launch.gridDim = call.blocks;
  launch.blockDim = kThreads;
  launch.dynamicSmemBytes = Tile::kBytes;
  launch.stream = call.stream;
  launch.attrs = attributes;
  launch.numAttrs = count;
  check(cudaLaunchKernelEx(&launch, kernel, call.params, call.maps), "cluster_gemm kernel");
}

template <Precision kPrecision>
void run(const Launch& call) {
  if (call.config.rows == 256) return run_tile<Tile<kPrecision, 256, 128>>(call);
  if (call.config.columns == 256) return run_tile<Tile<kPrecision, 128, 256>>(call);
  run_tile<Tile<kPrecision, 128, 128>>(call);
}

}  // namespace convt3d::cuda::cluster_gemm
