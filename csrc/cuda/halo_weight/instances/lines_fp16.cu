// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_weight/launch.cuh"

template void convt3d::cuda::halo_weight::run<convt3d::Precision::fp16, true>(
    const convt3d::cuda::halo_weight::Call&);
