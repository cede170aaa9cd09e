// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/cluster_gemm/launch.cuh"

template void convt3d::cuda::cluster_gemm::run<convt3d::Precision::fp16>(
    const convt3d::cuda::cluster_gemm::Launch&);
