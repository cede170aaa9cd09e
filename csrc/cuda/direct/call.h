// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each element type's kernels.
#pragma once
#include <cuda_runtime_api.h>

#include "cuda/direct/config.h"
#include "plan/operands.h"

namespace convt3d::cuda::direct {

struct Call {
  const Description& description;
  const Operands& operands;
  const Config& config;
  void* workspace;
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <typename T>
void run(const Call& call);

}  // namespace convt3d::cuda::direct
