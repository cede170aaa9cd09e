// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per number of columns.
#pragma once
#include <stdexcept>

#include "cuda/common/cuda_check.h"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/view_weight/call.h"
#include "cuda/view_weight/kernel.cuh"

namespace convt3d::cuda::view_weight {

using Kernel = void (*)(Params, CUtensorMap, CUtensorMap);

template <int kColumns, int kTaps>
Kernel kernel_of_runs() {
  if constexpr (has_runs(kColumns, kTaps)) return view_weight_kernel<kColumns, kTaps, true>;
  throw std::logic_error("view_weight has no kernel of such runs");
}

template <int kColumns>
Kernel kernel_of(const Launch& launch) {
  if (launch.runs) {
    return launch.units == 3   ? kernel_of_runs<kColumns, 3>()
           : launch.units == 5 ? kernel_of_runs<kColumns, 5>()
                               : kernel_of_runs<kColumns, 7>();
  }
  return launch.units == 1 ? view_weight_kernel<kColumns, 1, false>
                           : view_weight_kernel<kColumns, 2, false>;
}

template <int kColumns>
void run(const Launch& launch) {
  const Kernel kernel = kernel_of<kColumns>(launch);
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
