// SPDX-License-Identifier: BSD-3-Clause
// The entry point of each precision's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/halo_weight/config.h"

namespace convt3d::cuda::halo_weight {

using Call = cuda::Call<Config>;

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision, bool kLines>
void run(const Call& call);

}  // namespace convt3d::cuda::halo_weight
