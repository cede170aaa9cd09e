// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/gathered_launch.cuh"

namespace convt3d::cuda::few_channels {
template void run_gathered<__nv_bfloat16>(const GatheredCall&);
}  // namespace convt3d::cuda::few_channels
