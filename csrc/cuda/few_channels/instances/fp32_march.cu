// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/march_launch.cuh"

namespace convt3d::cuda::few_channels {
template bool run_march<float>(const MarchCall&);
}  // namespace convt3d::cuda::few_channels
