// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/cluster_weight/box_kernel.cuh"
#include "cuda/common/call.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"

namespace convt3d::cuda::cluster_weight {

template <Precision kPrecision, int kRows, bool kTurned>
void run_box_tile(const BoxLaunch& call) {
  const auto kernel = box_weight_kernel<BoxTile<kPrecision, kRows, kTurned>>;
  allow_shared_memory(kernel, "cluster_weight boxes");
  launch_grid("cluster_weight box kernel", kernel,
              {call.blocks, kBoxThreads, call.shared_bytes, call.stream, false, call.params.splits},
              call.params);
}

template <Precision kPrecision>
void run_boxes(const BoxLaunch& call) {
  const auto run = [&]<int kRows>() {
    call.turned ? run_box_tile<kPrecision, kRows, true>(call)
                : run_box_tile<kPrecision, kRows, false>(call);
  };
  if constexpr (kPrecision == Precision::fp32) {
    with_value<64, kBoxMaxFloatRows>(call.rows, run);
  } else {
    with_value<64, 128, 192>(call.rows, run);
  }
}

}  // namespace convt3d::cuda::cluster_weight
