// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each precision's kernels.
#pragma once
#include <cuda_runtime_api.h>

#include "cuda/halo_gemm/config.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_gemm {

struct Call {
  const Description& description;
  const Device& device;
  const Operands& operands;
  const Config& config;
  void* workspace;
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run(const Call& call);

}  // namespace convt3d::cuda::halo_gemm
