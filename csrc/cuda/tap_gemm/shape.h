// SPDX-License-Identifier: BSD-3-Clause
// What the search for a cut looks at, and where a halo lies in shared memory (place.cpp).
#pragma once
#include <array>
#include <cstdint>

#include "cuda/common/grad_weight_cuts.h"
#include "cuda/tap_gemm/config.h"
#include "geometry/problem.h"

namespace convt3d::cuda::tap_gemm {

// One call, in what the search needs.
struct Shape {
  const Problem& problem;
  bool full, planes;
  bool lines, flat;  // whether input may come so
  bool boxes;        // whether grad_output may
  int piece;
  int64_t ins, outs, weights;  // channels of a group; all weights
  int64_t num_sms;
  std::array<AxisSteps, 3> steps;
};

// Where the halo lies in shared memory, and stages, of a config whose columns, taps and box are
// set; false if it does not fit.
bool place_halo(const Shape& shape, Config* config);

}  // namespace convt3d::cuda::tap_gemm
