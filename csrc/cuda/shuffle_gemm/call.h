// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each precision's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/shuffle_gemm/config.h"
#include "cuda/shuffle_gemm/params.h"
#include "plan/operands.h"

namespace convt3d::cuda::shuffle_gemm {

struct Call {
  Params params;
  Config config;
  bool channels_inner;  // of the source: neighbouring channels are (the nearest) neighbours
  cudaStream_t stream;
};

Call make_call(const Description& description, const Config& config, const Operands& operands,
               void* stream);

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision, Direction kDirection>
void run(const Call& call);

}  // namespace convt3d::cuda::shuffle_gemm
