// SPDX-License-Identifier: BSD-3-Clause
// From a call of grad_input to its launch; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>

#include "cuda/column_gemm/box_params.h"
#include "cuda/column_gemm/call.h"
#include "cuda/column_gemm/input_kernel.cuh"
#include "cuda/common/alignment.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"

namespace convt3d::cuda::column_gemm {

inline InputParams make_input_params(const InputCall& call) {
  const Problem& problem = call.description.problem;
  InputParams p = make_box_params(call);
  p.steps = call.config.steps;
  p.chunks = call.config.chunks;
  p.row_blocks = (p.cells[0] * p.cells[1] * p.line_rows + 31) / 32;
  p.row_block_divisor = reciprocal(p.row_blocks);
  const int64_t side =
      call.description.input == Layout::ndhwc ? problem.in_channels : problem.input[2];
  p.whole_stores = side % 4 == 0 && is_aligned(p.input);
  return p;
}

template <Precision kPrecision>
void run_input(const InputCall& call) {
  const InputParams p = make_input_params(call);
  const auto kernel = call.description.input == Layout::ndhwc
                          ? column_input_kernel<kPrecision, true>
                          : column_input_kernel<kPrecision, false>;
  const auto bytes = static_cast<int>(call.config.shared);
  allow_shared_memory(kernel, "column_gemm shared memory");
  const auto blocks =
      static_cast<unsigned>(std::min(p.items, call.device.num_sms * call.config.blocks_per_sm));
  kernel<<<blocks, kInputThreads, bytes, call.stream>>>(p);
  check(cudaGetLastError(), "column_gemm kernel");
}

}  // namespace convt3d::cuda::column_gemm
