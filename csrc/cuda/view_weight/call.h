// SPDX-License-Identifier: BSD-3-Clause
// The entry point of each number of columns.
#pragma once
#include <cuda.h>

#include "cuda/view_weight/params.h"

namespace convt3d::cuda::view_weight {

struct Launch {
  Params params;
  CUtensorMap input, output;
  int units;
  bool runs;
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <int kColumns>
void run(const Launch& launch);

}  // namespace convt3d::cuda::view_weight
