// SPDX-License-Identifier: BSD-3-Clause
// What both choices of forward count: config.h says what a cell is. Plain C++.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/config.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::column_gemm {

constexpr int64_t divide_down(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

inline int64_t all_steps(const Description& description) {
  return ceil_div(description.problem.in_channels, step_channels(description.precision));
}

// Columns of one residue of d and h. A tile of eight is read by the shifts that any of its columns
// has a tap for, so that residues share tiles only where all have the same shifts: an infinity
// times a zero that stands for no tap would be NaN.
inline int64_t block_columns(const Problem& p) {
  const int64_t columns = p.kernel[2] * p.out_channels;
  const bool alike = p.kernel[0] % p.stride[0] == 0 && p.kernel[1] % p.stride[1] == 0;
  return alike ? columns : round_up(columns, 8);
}

inline int64_t column_tiles(const Problem& p) {
  return ceil_div(p.stride[0] * p.stride[1] * block_columns(p), 8);
}

inline int64_t shift_pairs(const Problem& p) {
  return int64_t{shifts(p.kernel[0], p.stride[0])} * shifts(p.kernel[1], p.stride[1]);
}

// Cells of d or h, from the residue of output 0 on.
inline int64_t cells(const Problem& p, int axis) {
  const int64_t s = p.stride[axis];
  return (p.output()[axis] - 1 + p.padding[axis]) / s - p.padding[axis] / s + 1;
}

// Positions that cells of w side by side read, less the cells.
inline int64_t extra_positions(const Problem& p) {
  return divide_down(p.kernel[2] - 1 - p.padding[2], p.stride[2]) -
         divide_down(-p.padding[2], p.stride[2]);
}

}  // namespace convt3d::cuda::column_gemm
