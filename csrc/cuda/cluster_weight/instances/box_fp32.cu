// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/cluster_weight/box_launch.cuh"

template void convt3d::cuda::cluster_weight::run_boxes<convt3d::Precision::fp32>(
    const convt3d::cuda::cluster_weight::BoxLaunch&);
