// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision and columns.
#pragma once
#include <stdexcept>

#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
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
  const bool second = p.input == Input::packed;  // the first overlaps with nothing before it
  launch_grid("tap_gemm kernel", kernel,
              {static_cast<unsigned>(p.jobs * p.splits), kThreads, bytes, launch.stream, second}, p,
              launch.packed, launch.halo);
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
