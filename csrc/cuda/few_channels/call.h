// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each element type's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/few_channels/config.h"
#include "cuda/few_channels/gathered_config.h"
#include "cuda/few_channels/march_config.h"
#include "cuda/few_channels/matrix_config.h"
#include "cuda/few_channels/weight_config.h"

namespace convt3d::cuda::few_channels {

using Call = cuda::Call<Config>;
using WeightCall = cuda::Call<WeightConfig>;
using MatrixCall = cuda::Call<MatrixConfig>;
using GatheredCall = cuda::Call<GatheredConfig>;
using MarchCall = cuda::Call<MarchConfig>;

// Defined in launch.cuh, instantiated in instances/: forward, one file for each element type and
// mapping; grad_input, one for each element type.
template <typename T, Mapping kMapping>
void run(const Call& call);
template <typename T>
void run_gather(const Call& call);
// Defined in weight_launch.cuh: grad_weight, one file for each element type.
template <typename T>
void run_weight(const WeightCall& call);
// Defined in matrix_launch.cuh: grad_input, and in 16 bits grad_weight, one file for each
// precision.
template <Precision kPrecision>
void run_matrix(const MatrixCall& call);
// Defined in gathered_launch.cuh: gradients of very many taps, one file for each element type.
template <typename T>
void run_gathered(const GatheredCall& call);
// Defined in march_launch.cuh: gradients of depthwise, one file for each 16-bit type. False where
// the tensors do not lie as it wants them.
template <typename T>
bool run_march(const MarchCall& call);

}  // namespace convt3d::cuda::few_channels
