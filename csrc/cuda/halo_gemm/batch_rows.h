// SPDX-License-Identifier: BSD-3-Clause
// Many batch items of few positions: the rows of a position are batch items (batch_kernel.cuh).
#pragma once
#include <vector>

#include "cuda/halo_gemm/estimate.h"

namespace convt3d::cuda::halo_gemm {

// Lines of positions of all residues, and which of the taps of d, h and w read any input. They are
// done in this order, most work first.
struct BatchLine {
  int residue, d, h;  // residue: of {d, h, w}, the last axis fastest
  int64_t taps;
  int64_t work;  // with those of w
};
std::vector<BatchLine> batch_lines(const Product& product);

// How the product is cut then; without a configuration that fits, the result has no slots.
Config choose_batch_rows(const Shape& shape, const Product& product);

}  // namespace convt3d::cuda::halo_gemm
