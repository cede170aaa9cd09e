// SPDX-License-Identifier: BSD-3-Clause
// One checked launch; instances/ has one explicit instantiation per precision and columns.
#pragma once
#include <stdexcept>

#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/view_weight/call.h"
#include "cuda/view_weight/kernel.cuh"

namespace convt3d::cuda::view_weight {

using Kernel = void (*)(Params, CUtensorMap, CUtensorMap);

template <Precision kPrecision, int kColumns, int kTaps>
Kernel kernel_of_runs() {
  if constexpr (has_runs(kPrecision, kColumns, kTaps)) {
    return view_weight_kernel<kPrecision, kColumns, kTaps, true>;
  }
  throw std::logic_error("view_weight has no kernel of such runs");
}

template <Precision kPrecision, int kColumns>
Kernel kernel_of(const Launch& launch) {
  if (launch.runs) {
    return launch.units == 3   ? kernel_of_runs<kPrecision, kColumns, 3>()
           : launch.units == 5 ? kernel_of_runs<kPrecision, kColumns, 5>()
                               : kernel_of_runs<kPrecision, kColumns, 7>();
  }
  if (launch.units == 1) return view_weight_kernel<kPrecision, kColumns, 1, false>;
  if constexpr (most_units(kPrecision, kColumns) >= 2) {
    return view_weight_kernel<kPrecision, kColumns, 2, false>;
  }
  throw std::logic_error("view_weight has no kernel of so many units");
}

template <Precision kPrecision, int kColumns>
void run(const Launch& launch) {
  const Kernel kernel = kernel_of<kPrecision, kColumns>(launch);
  allow_shared_memory(kernel, "view_weight shared memory");
  const Params& p = launch.params;
  const auto blocks = static_cast<unsigned>(p.work.blocks);
  const bool second = !p.turns_input;  // the first overlaps with nothing before it
  launch_grid("view_weight kernel", kernel, {blocks, kThreads, kSharedBytes, launch.stream, second},
              p, launch.input, launch.output);
}

}  // namespace convt3d::cuda::view_weight
