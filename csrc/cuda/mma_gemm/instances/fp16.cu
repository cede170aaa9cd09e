// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/mma_gemm/launch.cuh"

template void convt3d::cuda::mma_gemm::run<convt3d::Precision::fp16>(
    const convt3d::cuda::implicit_gemm::Call&);
