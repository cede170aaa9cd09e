// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/shuffle_gemm/launch.cuh"

template void
convt3d::cuda::shuffle_gemm::run<convt3d::Precision::fp32, convt3d::Direction::forward>(
    const convt3d::cuda::shuffle_gemm::Call&);
