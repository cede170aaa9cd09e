// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision and columns.
#pragma once
#include <stdexcept>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/tap_gemm/call.h"
#include "cuda/tap_gemm/kernel.cuh"
#include "cuda/tap_gemm/tile.h"

namespace convt3d::cuda::tap_gemm {

template <Precision kPrecision, int kColumns, int kSlabs>
void run_slabs(const Launch& launch) {
  const auto kernel = tap_kernel<kPrecision, kColumns, kSlabs>;
  const Params& p = launch.params;
  const int bytes = kStageAlignment + p.stages * p.stage_bytes +
                    static_cast<int>(table_bytes(p.slots, p.positions));
  allow_shared_memory(kernel, "tap_gemm attribute");
  const sm90::Grid grid{dim3(static_cast<unsigned>(p.jobs * p.splits)), dim3(kThreads), bytes,
                        launch.stream};
  if (p.input == Input::packed) {
    sm90::launch_overlapping("tap_gemm kernel", kernel, grid, p, launch.packed, launch.halo);
  } else {  // the first launch, which overlaps with nothing before it
    kernel<<<grid.blocks, grid.threads, bytes, launch.stream>>>(p, launch.packed, launch.halo);
    check(cudaGetLastError(), "tap_gemm kernel");
  }
}

template <Precision kPrecision, int kColumns>
void run(const Launch& launch) {
  if (launch.slabs == 1) return run_slabs<kPrecision, kColumns, 1>(launch);
  if constexpr (most_slabs(kPrecision, kColumns) >= 2) {
    if (launch.slabs == 2) return run_slabs<kPrecision, kColumns, 2>(launch);
  }
  throw std::logic_error("tap_gemm has no kernel of so many slabs");
}

}  // namespace convt3d::cuda::tap_gemm
