// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/input_launch.cuh"

template void convt3d::cuda::column_gemm::run_input<convt3d::Precision::fp32>(
    const convt3d::cuda::column_gemm::InputCall&);
