// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/shuffle_gemm/resident_kernel.cuh"
#include "cuda/shuffle_gemm/resident_launch.h"

namespace convt3d::cuda::shuffle_gemm {

template <Precision kPrecision>
void run_resident(const ResidentParams& params, const ResidentConfig& config, cudaStream_t stream) {
  const auto kernel =
      config.rows ? resident_kernel<kPrecision, true> : resident_kernel<kPrecision, false>;
  const int bytes = static_cast<int>(config.shared_bytes);
  allow_shared_memory(kernel, "shuffle_gemm resident attribute");
  cudaLaunchConfig_t launch{};
  launch.gridDim = static_cast<unsigned>(config.slices * config.walkers);
  launch.blockDim = static_cast<unsigned>(config.warpgroups * 160);
  launch.dynamicSmemBytes = bytes;
  launch.stream = stream;
  cudaLaunchAttribute overlapping = sm90::overlapping_launch();
  launch.attrs = &overlapping;
  launch.numAttrs = config.packs;
  check(cudaLaunchKernelEx(&launch, kernel, params), "shuffle_gemm resident kernel");
}

}  // namespace convt3d::cuda::shuffle_gemm
