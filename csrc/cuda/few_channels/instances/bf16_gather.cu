// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/launch.cuh"

namespace convt3d::cuda::few_channels {
template void run_gather<__nv_bfloat16>(const Call&);
}  // namespace convt3d::cuda::few_channels
