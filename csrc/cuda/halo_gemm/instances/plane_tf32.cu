// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/plane_launch.cuh"

template void convt3d::cuda::halo_gemm::run_planes<convt3d::Precision::tf32>(
    const convt3d::cuda::halo_gemm::PlaneCall&);
