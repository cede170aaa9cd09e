// SPDX-License-Identifier: BSD-3-Clause
// One launch, and the entry point of each precision's kernels.
#pragma once
#include <cuda_runtime_api.h>

#include "cuda/cluster_gemm/config.h"
#include "cuda/cluster_gemm/params.h"

namespace convt3d::cuda::cluster_gemm {

struct Launch {
  Params params;
  Maps maps;
  Config config;
  unsigned blocks;
  bool second;  // of overlapping launches
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run(const Launch& call);

}  // namespace convt3d::cuda::cluster_gemm
