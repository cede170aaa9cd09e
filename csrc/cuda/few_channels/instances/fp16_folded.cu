// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/folded_launch.cuh"

namespace convt3d::cuda::few_channels {
template void run_folded<__half>(const FoldedCall&);
}  // namespace convt3d::cuda::few_channels
