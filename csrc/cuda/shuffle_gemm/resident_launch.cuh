// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/shuffle_gemm/resident_kernel.cuh"
#include "cuda/shuffle_gemm/resident_launch.h"

namespace convt3d::cuda::shuffle_gemm {

template <Precision kPrecision>
void run_resident(const ResidentParams& params, const ResidentConfig& config, cudaStream_t stream) {
  const auto kernel =
      config.rows ? resident_kernel<kPrecision, true> : resident_kernel<kPrecision, false>;
  allow_shared_memory(kernel, "shuffle_gemm resident attribute");
  launch_grid("shuffle_gemm resident kernel", kernel,
              {static_cast<unsigned>(config.slices * config.walkers),
               static_cast<unsigned>(config.warpgroups * 160),
               static_cast<int>(config.shared_bytes), stream, config.packs},
              params);
}

}  // namespace convt3d::cuda::shuffle_gemm
