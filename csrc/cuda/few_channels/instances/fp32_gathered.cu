// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/gathered_launch.cuh"

namespace convt3d::cuda::few_channels {
template void run_gathered<float>(const GatheredCall&);
}  // namespace convt3d::cuda::few_channels
