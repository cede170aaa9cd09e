// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/turn_launch.cuh"

template void convt3d::cuda::halo_gemm::run_turn<convt3d::Precision::tf32>(
    const convt3d::cuda::halo_gemm::TurnCall&);
