// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/launch.cuh"

namespace convt3d::cuda::few_channels {
template void run_gather<__half>(const Call&);
}  // namespace convt3d::cuda::few_channels
