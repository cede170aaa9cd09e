// SPDX-License-Identifier: BSD-3-Clause
// How long a configuration takes.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "cuda/halo_gemm/config.h"
#include "cuda/halo_gemm/product.h"

namespace convt3d::cuda::halo_gemm {

// Of one axis, over its residues: `reach` is the furthest that a line of positions must go so that
// the next may begin, see kernel.cuh.
struct AxisSummary {
  std::vector<ProductResidue> residues;
  int64_t outputs = 0, span = 0, all_span = 0, reach = 1;  // all_span: over all residues

  int64_t all_taps() const {
    int64_t taps = 0;
    for (const ProductResidue& r : residues) taps += r.num_taps;
    return taps;
  }
};

struct Shape {
  const Problem& problem;  // the product's
  bool sums;               // over all residues
  std::array<AxisSummary, 3> axis;
  int64_t bytes;  // of an element
  int num_sms;
  int64_t max_chain;
};

// Clocks that the device needs for everything, cut this way.
double estimate(const Shape& shape, const Config& config);
// Of the march of each tile (walk.cuh); 0: all of them are cut into equal parts.
int choose_segments(const Shape& shape, const Config& config);

}  // namespace convt3d::cuda::halo_gemm
