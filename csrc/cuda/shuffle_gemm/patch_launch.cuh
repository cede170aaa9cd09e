// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/shuffle_gemm/patch_kernel.cuh"
#include "cuda/shuffle_gemm/patch_launch.h"

namespace convt3d::cuda::shuffle_gemm {

template <Precision kPrecision>
void run_patches(const PatchParams& params, const PatchConfig& config, bool lines,
                 cudaStream_t stream) {
  using T = ElementOf<kPrecision>;
  const auto kernel = config.columns == 64
                          ? (lines ? patch_kernel<T, 64, true> : patch_kernel<T, 64, false>)
                          : (lines ? patch_kernel<T, 128, true> : patch_kernel<T, 128, false>);
  const int bytes = static_cast<int>(config.shared_bytes);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "shuffle_gemm patch attribute");
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(config.splits), 1, 1};
  cudaLaunchConfig_t launch{};
  launch.gridDim = static_cast<unsigned>(config.slices * config.walkers * config.splits);
  launch.blockDim = kPatchThreads;
  launch.dynamicSmemBytes = bytes;
  launch.stream = stream;
  launch.attrs = &cluster;
  launch.numAttrs = config.splits > 1;
  check(cudaLaunchKernelEx(&launch, kernel, params), "shuffle_gemm patch kernel");
}

}  // namespace convt3d::cuda::shuffle_gemm
