// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include "cuda/common/call.h"
#include "cuda/common/folded.h"

namespace convt3d::cuda::few_channels {

using FoldedCall = cuda::Call<FoldedConfig>;

// Defined in folded_launch.cuh: forward of very many taps, one file for each element type.
template <typename T>
void run_folded(const FoldedCall& call);

}  // namespace convt3d::cuda::few_channels
