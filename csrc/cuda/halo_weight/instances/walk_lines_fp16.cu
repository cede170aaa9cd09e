// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_weight/walk_launch.cuh"

template void convt3d::cuda::halo_weight::run_walk<convt3d::Precision::fp16, true>(
    const convt3d::cuda::halo_weight::WalkCall&);
