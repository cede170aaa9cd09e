// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/tap_gemm/launch.cuh"

template void convt3d::cuda::tap_gemm::run<convt3d::Precision::fp32, 48>(
    const convt3d::cuda::tap_gemm::Launch&);
