// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/weight_gemm/launch.cuh"

template void convt3d::cuda::weight_gemm::run<convt3d::Precision::tf32>(
    const convt3d::cuda::weight_gemm::Call&);
