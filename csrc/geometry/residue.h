// SPDX-License-Identifier: BSD-3-Clause
// Residue classes of one axis: the outputs o with (o + padding) mod stride = r use exactly the
// taps t with (dilation * t) mod stride = r, so each class is a dense stride-1 correlation:
//
//   o = first_output + stride * q,  t = first_tap + tap_step * j,  i = first_input + q - input_step
//   * j
//
// for q in [0, num_outputs) and j in [0, num_taps); an i outside [0, input) contributes nothing.
//
// Seen from the inputs, as grad_input needs them, every class with taps contributes to every input:
//
//   q = i - first_input + input_step * j
//
// for i in [0, input) and j in [0, num_taps); a q outside [0, num_outputs) contributes nothing.
#pragma once
#include <cstdint>
#include <vector>

#include "geometry/problem.h"

namespace convt3d {

struct AxisResidue {
  int64_t residue;
  int64_t first_output;
  int64_t num_outputs;
  int64_t first_tap;
  int64_t tap_step;
  int64_t num_taps;  // 0 where gcd(stride, dilation) > 1 leaves the class without taps: bias only
  int64_t first_input;
  int64_t input_step;

  bool operator==(const AxisResidue&) const = default;
};

AxisResidue axis_residue(const Problem& problem, int axis, int64_t residue);
// All stride[axis] classes, in order of residue.
std::vector<AxisResidue> axis_residues(const Problem& problem, int axis);

}  // namespace convt3d
