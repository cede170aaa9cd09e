// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each element type's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/lane_sums/config.h"

namespace convt3d::cuda::lane_sums {

using Call = cuda::Call<Config>;

// Defined in launch.cuh, instantiated in instances/.
template <typename T>
void run(const Call& call);

}  // namespace convt3d::cuda::lane_sums
