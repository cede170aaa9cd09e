// SPDX-License-Identifier: BSD-3-Clause
#include "geometry/residue.h"

#include <numeric>

namespace convt3d {

AxisResidue axis_residue(const Problem& problem, int axis, int64_t residue) {
  const int64_t stride = problem.stride[axis], dilation = problem.dilation[axis];
  const int64_t padding = problem.padding[axis], kernel = problem.kernel[axis];
  const int64_t extent = problem.output()[axis], common = std::gcd(stride, dilation);

  AxisResidue axis_class{};
  axis_class.residue = residue;
  axis_class.first_output = ((residue - padding) % stride + stride) % stride;
  axis_class.num_outputs =
      axis_class.first_output < extent ? (extent - 1 - axis_class.first_output) / stride + 1 : 0;
  axis_class.tap_step = stride / common;
  axis_class.input_step = dilation / common;
  // Only one tap in each run of tap_step can belong to the class, and none if common does not
  // divide the residue.
  for (int64_t tap = 0; tap < kernel && tap < axis_class.tap_step; ++tap) {
    if ((dilation * tap - residue) % stride != 0) continue;
    axis_class.first_tap = tap;
    axis_class.num_taps = (kernel - 1 - tap) / axis_class.tap_step + 1;
    axis_class.first_input = (axis_class.first_output + padding - dilation * tap) / stride;
    break;
  }
  return axis_class;
}

std::vector<AxisResidue> axis_residues(const Problem& problem, int axis) {
  std::vector<AxisResidue> classes;
  for (int64_t residue = 0; residue < problem.stride[axis]; ++residue) {
    classes.push_back(axis_residue(problem, axis, residue));
  }
  return classes;
}

}  // namespace convt3d
