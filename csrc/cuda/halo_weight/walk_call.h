// SPDX-License-Identifier: BSD-3-Clause
// The entry point of each precision's walks.
#pragma once
#include "cuda/common/call.h"
#include "cuda/halo_weight/walk_config.h"

namespace convt3d::cuda::halo_weight {

using WalkCall = cuda::Call<WalkConfig>;

// Defined in walk_launch.cuh, instantiated in instances/.
template <Precision kPrecision, bool kLines>
void run_walk(const WalkCall& call);

}  // namespace convt3d::cuda::halo_weight
