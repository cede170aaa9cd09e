// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/cluster_weight/kernel.cuh"
#include "cuda/cluster_weight/launch.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"

namespace convt3d::cuda::cluster_weight {

template <typename Tile>
void run_tile(const Launch& call) {
  const auto kernel = cluster_weight_kernel<Tile>;
  // Blocks of a cluster are placed on one SM if they fit: where there are enough SMs, they do not.
  const int bytes = call.apart ? std::max(Tile::kBytes, kPairBytes + 4096) : Tile::kBytes;
  allow_shared_memory(kernel, "cluster_weight attribute");
  launch_grid("cluster_weight kernel", kernel,
              {call.blocks, kThreads, bytes, call.stream, false, call.params.splits}, call.params);
}

template <Precision kPrecision, Source kSource>
void run_source(const Launch& call) {
  if constexpr (kPrecision != Precision::fp32) {
    if (call.rows == 128) return run_tile<Tile<kPrecision, kSource, 128>>(call);
  }
  run_tile<Tile<kPrecision, kSource, 64>>(call);
}

template <Precision kPrecision>
void run(const Launch& call) {
  switch (call.source) {
    case Source::channels:
      return run_source<kPrecision, Source::channels>(call);
    case Source::lines_2:
      return run_source<kPrecision, Source::lines_2>(call);
    case Source::lines_4:
      return run_source<kPrecision, Source::lines_4>(call);
  }
}

}  // namespace convt3d::cuda::cluster_weight
