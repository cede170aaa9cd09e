// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/direct/launch.cuh"

template void convt3d::cuda::direct::run<float>(const convt3d::cuda::direct::Call&);
