// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each element type's kernels.
#pragma once
#include <cuda_runtime_api.h>

#include "cuda/few_channels/config.h"
#include "plan/operands.h"

namespace convt3d::cuda::few_channels {

struct Call {
  const Description& description;
  const Device& device;
  const Operands& operands;
  const Config& config;
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/, one file for each element type and mapping.
template <typename T, Mapping kMapping>
void run(const Call& call);

}  // namespace convt3d::cuda::few_channels
