// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/view_weight/launch.cuh"

template void convt3d::cuda::view_weight::run<convt3d::Precision::fp32, 48>(
    const convt3d::cuda::view_weight::Launch&);
