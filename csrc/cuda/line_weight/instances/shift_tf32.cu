// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/line_weight/shift_launch.cuh"

template void convt3d::cuda::line_weight::run_shifts<convt3d::Precision::tf32>(
    const convt3d::cuda::line_weight::ShiftCall&);
