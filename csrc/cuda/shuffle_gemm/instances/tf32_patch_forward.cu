// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/shuffle_gemm/patch_launch.cuh"

namespace convt3d::cuda::shuffle_gemm {
template void run_patches<Precision::tf32, true>(const PatchParams&, const PatchConfig&, bool,
                                                 cudaStream_t);
}  // namespace convt3d::cuda::shuffle_gemm
