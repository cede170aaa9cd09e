// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each precision's kernels.
#pragma once
#include "cuda/common/call.h"
#include "cuda/weight_gemm/config.h"
#include "cuda/weight_gemm/params.h"
#include "plan/operands.h"

namespace convt3d::cuda::weight_gemm {

// Where the sums go.
struct Result {
  void* data;
  int64_t stride[5];  // in, out / groups, kd, kh, kw
  int kernel[3];
  int64_t in_channels, out_channels;  // all, and of a group
};

struct Call {
  Params params;
  Result result;
  Config config;
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run(const Call& call);

}  // namespace convt3d::cuda::weight_gemm
