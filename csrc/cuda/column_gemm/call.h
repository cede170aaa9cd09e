// SPDX-License-Identifier: BSD-3-Clause
// The entry points of each precision's kernels.
#pragma once
#include "cuda/column_gemm/config.h"
#include "cuda/column_gemm/input_config.h"
#include "cuda/column_gemm/march_config.h"
#include "cuda/column_gemm/weight_config.h"
#include "cuda/common/call.h"

namespace convt3d::cuda::column_gemm {

using Call = cuda::Call<Config>;
using MarchCall = cuda::Call<MarchConfig>;
using InputCall = cuda::Call<InputConfig>;
using WeightCall = cuda::Call<WeightConfig>;

// Defined in launch.cuh, march_launch.cuh, input_launch.cuh and weight_launch.cuh, instantiated in
// instances/.
template <Precision kPrecision>
void run(const Call& call);
template <Precision kPrecision>
void run_march(const MarchCall& call);
template <Precision kPrecision>
void run_input(const InputCall& call);
template <Precision kPrecision>
void run_weight(const WeightCall& call);

}  // namespace convt3d::cuda::column_gemm
