// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/line_weight/gather_launch.cuh"

template void convt3d::cuda::line_weight::run_gather<convt3d::Precision::bf16>(
    const convt3d::cuda::line_weight::GatherCall&);
