// SPDX-License-Identifier: BSD-3-Clause
// One call, and the entry point of each instance.
#pragma once
#include <cuda.h>

#include "cuda/tap_gemm/config.h"
#include "cuda/tap_gemm/params.h"

namespace convt3d::cuda::tap_gemm {

struct Launch {
  Params params;
  CUtensorMap packed;
  CUtensorMap halo;  // where it comes by TMA
  int slabs;
  int num_sms;
  cudaStream_t stream;
};

// Defined in launch.cuh, instantiated in instances/.
template <Precision kPrecision, int kColumns>
void run(const Launch& launch);

}  // namespace convt3d::cuda::tap_gemm
