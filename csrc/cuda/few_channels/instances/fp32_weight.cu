// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/weight_launch.cuh"

namespace convt3d::cuda::few_channels {
template void run_weight<float>(const WeightCall&);
}  // namespace convt3d::cuda::few_channels
