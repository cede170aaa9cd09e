// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/weight_launch.cuh"

template void convt3d::cuda::column_gemm::run_weight<convt3d::Precision::bf16>(
    const convt3d::cuda::column_gemm::WeightCall&);
