// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/group_gemm/launch.cuh"

namespace convt3d::cuda::group_gemm {
template void run<Precision::fp16>(const Call&);
}  // namespace convt3d::cuda::group_gemm
