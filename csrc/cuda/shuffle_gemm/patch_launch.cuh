// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/shuffle_gemm/patch_kernel.cuh"
#include "cuda/shuffle_gemm/patch_launch.h"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::shuffle_gemm {

template <Precision kPrecision, bool kForward>
void run_patches(const PatchParams& params, const PatchConfig& config, bool lines,
                 cudaStream_t stream) {
  const auto kernel = config.columns == 64
                          ? (lines ? patch_kernel<kPrecision, 64, true, kForward>
                                   : patch_kernel<kPrecision, 64, false, kForward>)
                          : (lines ? patch_kernel<kPrecision, 128, true, kForward>
                                   : patch_kernel<kPrecision, 128, false, kForward>);
  const int bytes = static_cast<int>(config.shared_bytes);
  allow_shared_memory(kernel, "shuffle_gemm patch attribute");
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (config.splits > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {static_cast<unsigned>(config.splits), 1, 1};
  }
  if (params.packs) attributes[count++] = sm90::overlapping_launch();
  cudaLaunchConfig_t launch{};
  launch.gridDim = static_cast<unsigned>(config.slices * config.walkers * config.splits);
  launch.blockDim = static_cast<unsigned>(patch_threads(config.columns, kPrecision));
  launch.dynamicSmemBytes = bytes;
  launch.stream = stream;
  launch.attrs = attributes;
  launch.numAttrs = count;
  check(cudaLaunchKernelEx(&launch, kernel, params), "shuffle_gemm patch kernel");
}

}  // namespace convt3d::cuda::shuffle_gemm
