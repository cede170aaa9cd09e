// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision.
#pragma once
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/shuffle_gemm/patch_kernel.cuh"
#include "cuda/shuffle_gemm/patch_launch.h"

namespace convt3d::cuda::shuffle_gemm {

template <Precision kPrecision, bool kForward>
void run_patches(const PatchParams& params, const PatchConfig& config, bool lines,
                 cudaStream_t stream) {
  const auto kernel = config.columns == 64
                          ? (lines ? patch_kernel<kPrecision, 64, true, kForward>
                                   : patch_kernel<kPrecision, 64, false, kForward>)
                          : (lines ? patch_kernel<kPrecision, 128, true, kForward>
                                   : patch_kernel<kPrecision, 128, false, kForward>);
  allow_shared_memory(kernel, "shuffle_gemm patch attribute");
  launch_grid("shuffle_gemm patch kernel", kernel,
              {static_cast<unsigned>(config.slices * config.walkers * config.splits),
               static_cast<unsigned>(patch_threads(config.columns, kPrecision)),
               static_cast<int>(config.shared_bytes), stream, params.packs,
               static_cast<int>(config.splits)},
              params);
}

}  // namespace convt3d::cuda::shuffle_gemm
