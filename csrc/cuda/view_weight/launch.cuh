// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per number of columns.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/view_weight/call.h"
#include "cuda/view_weight/kernel.cuh"

namespace convt3d::cuda::view_weight {

template <int kColumns>
void run(const Launch& launch) {
  const auto kernel =
      launch.units == 1 ? view_weight_kernel<kColumns, 1> : view_weight_kernel<kColumns, 2>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
        "view_weight shared memory");
  const Params& p = launch.params;
  const auto blocks = static_cast<unsigned>(p.work.blocks);
  if (p.turns_input) {  // the first launch, which overlaps with nothing before it
    kernel<<<blocks, kThreads, kSharedBytes, launch.stream>>>(p, launch.input, launch.output);
    check(cudaGetLastError(), "view_weight kernel");
  } else {
    sm90::launch_overlapping("view_weight kernel", kernel,
                             {dim3(blocks), dim3(kThreads), kSharedBytes, launch.stream}, p,
                             launch.input, launch.output);
  }
}

}  // namespace convt3d::cuda::view_weight
