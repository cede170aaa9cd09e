// SPDX-License-Identifier: BSD-3-Clause
// Many batch items of few positions: the rows of a position are batch items (batch_kernel.cuh).
#pragma once
#include <vector>

#include "cuda/halo_gemm/estimate.h"

namespace convt3d::cuda::halo_gemm {

// A line of positions of one residue (in grad_input of all): {d, h, w}, the last axis fastest; and
// which of the taps of d and h read any input.
struct BatchLine {
  int residue, d, h;
  int64_t taps;
  int64_t work;  // with those of w
};

// Who does which lines, one round after another: `blocks` have `groups` lines in each round, the
// blocks of a line its column tiles, batch items and strips. Most work comes first, and each line
// goes to the group that has least so far. No groups: a line needs more blocks than there are SMs.
struct BatchDeal {
  int groups, blocks;
  std::vector<BatchLine> lines;  // [round][group], all zeros where there is none
};
BatchDeal deal_lines(const Product& product, const Config& config, int num_sms);

// How the product is cut then; without a configuration that fits, the result has no slots.
Config choose_batch_rows(const Description& description, const Shape& shape,
                         const Product& product);

}  // namespace convt3d::cuda::halo_gemm
