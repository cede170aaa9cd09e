// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/implicit_gemm/launch.cuh"
#include "cuda/mma_gemm/call.h"
#include "cuda/mma_gemm/kernel.cuh"
#include "cuda/mma_gemm/tuning.h"

namespace convt3d::cuda::mma_gemm {

using Kernel = void (*)(Params, int);

template <Precision kPrecision>
Kernel kernel_of(int columns) {
  switch (columns) {
    case 16:
      return mma_gemm_kernel<kPrecision, 16>;
    case 32:
      return mma_gemm_kernel<kPrecision, 32>;
    case 48:
      return mma_gemm_kernel<kPrecision, 48>;
    default:
      if constexpr (kPrecision != Precision::fp32) return mma_gemm_kernel<kPrecision, 64>;
      return nullptr;
  }
}

template <Precision kPrecision>
void run(const implicit_gemm::Call& call) {
  const Params p = implicit_gemm::make_params(call);
  implicit_gemm::prepare<kPrecision>(call, p);
  const Kernel kernel = kernel_of<kPrecision>(call.config.columns);
  const auto bytes = static_cast<int>(shared_bytes(call.device.arch));
  allow_shared_memory(kernel, "mma_gemm shared memory");
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(p.items, call.device.num_sms));
  kernel<<<blocks, kThreads, bytes, call.stream>>>(p, call.config.steps);
  check(cudaGetLastError(), "mma_gemm kernel");
}

}  // namespace convt3d::cuda::mma_gemm
