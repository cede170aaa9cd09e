// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/march_launch.cuh"

template void convt3d::cuda::column_gemm::run_march<convt3d::Precision::fp16>(
    const convt3d::cuda::column_gemm::MarchCall&);
