// SPDX-License-Identifier: BSD-3-Clause
// Residues without taps (k < s, or s and d with a common factor) are bias, or 0: with stride 2
// seven of eight outputs. A product that stores them reads no input for them and writes parts of
// memory lines. Where there are such, the whole result is filled first, as fast as memory takes it,
// and the product goes through the other residues only.
#pragma once
#include "geometry/residue.h"
#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda {

// Whether it is forward, and some residue of an axis has no taps.
inline bool fills_with_bias(const Description& description) {
  if (description.direction != Direction::forward) return false;
  for (int axis = 0; axis < 3; ++axis) {
    for (int64_t r = 0; r < description.problem.stride[axis]; ++r) {
      if (axis_residue(description.problem, axis, r).num_taps == 0) return true;
    }
  }
  return false;
}

// Writes the bias of its channel to every output of forward; one launch.
void fill_with_bias(const Description& description, const Operands& operands, void* stream);

}  // namespace convt3d::cuda
