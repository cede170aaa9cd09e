// SPDX-License-Identifier: BSD-3-Clause
// Two checked launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/weight_gemm/call.h"
#include "cuda/weight_gemm/kernel.cuh"
#include "cuda/weight_gemm/reduce.cuh"

namespace convt3d::cuda::weight_gemm {

template <Precision kPrecision>
void run(const Call& call) {
  const Config& config = call.config;
  with_tile<kPrecision>(config.tile, [&](auto tile) {
    using Tile = decltype(tile);
    const auto kernel = weight_kernel<kPrecision, Tile>;
    const int bytes = static_cast<int>(config.shared_bytes);
    allow_shared_memory(kernel, "weight_gemm attribute");
    const auto blocks = static_cast<unsigned>(config.jobs * config.splits);
    kernel<<<blocks, 32 * (config.warps + kLoadWarps), bytes, call.stream>>>(call.params);
    check(cudaGetLastError(), "weight_gemm kernel");
  });
  const Result& result = call.result;
  const int64_t total = result.in_channels * result.out_channels * result.kernel[0] *
                        result.kernel[1] * result.kernel[2];
  const int splits = call.params.splits;
  int lanes = 1;
  while (2 * lanes <= std::min(splits, kMaxReduceLanes)) lanes *= 2;
  const dim3 threads(kReduceThreads / lanes, lanes);
  const auto blocks = static_cast<unsigned>((total + threads.x - 1) / threads.x);
  reduce_kernel<ElementOf<kPrecision>>
      <<<blocks, threads, 0, call.stream>>>(result, call.params.partial, total, splits);
  check(cudaGetLastError(), "weight_gemm reduce_kernel");
}

}  // namespace convt3d::cuda::weight_gemm
