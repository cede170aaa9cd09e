// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/launch.cuh"

template void convt3d::cuda::column_gemm::run<convt3d::Precision::bf16>(
    const convt3d::cuda::column_gemm::Call&);
