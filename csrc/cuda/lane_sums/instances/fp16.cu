// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/lane_sums/launch.cuh"

template void convt3d::cuda::lane_sums::run<__half>(const convt3d::cuda::lane_sums::Call&);
