// SPDX-License-Identifier: BSD-3-Clause
// The entry point of each precision and number of columns.
#pragma once
#include <cuda.h>

#include "cuda/view_weight/params.h"
#include "plan/description.h"

namespace convt3d::cuda::view_weight {

struct Launch {
  Params params;
  CUtensorMap input, output;
  int units;
  bool runs;
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision, int kColumns>
void run(const Launch& launch);

}  // namespace convt3d::cuda::view_weight
