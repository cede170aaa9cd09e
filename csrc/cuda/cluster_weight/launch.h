// SPDX-License-Identifier: BSD-3-Clause
// One launch, and the entry point of each precision's kernels.
#pragma once
#include <cuda_runtime_api.h>

#include "cuda/cluster_weight/params.h"

namespace convt3d::cuda::cluster_weight {

struct Launch {
  Params params;
  Source source;
  int rows;
  unsigned blocks;
  bool apart;  // each on an SM of its own
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run(const Launch& call);

}  // namespace convt3d::cuda::cluster_weight
