// SPDX-License-Identifier: BSD-3-Clause
#include "geometry/gemm_view.h"

#include <algorithm>

#include "geometry/residue.h"

namespace convt3d {

const char* to_string(Direction direction) {
  switch (direction) {
    case Direction::forward:
      return "forward";
    case Direction::grad_input:
      return "grad_input";
    case Direction::grad_weight:
      return "grad_weight";
  }
  return "?";
}

GemmView gemm_view(const Problem& problem, Direction direction) {
  const int64_t in_channels = problem.in_channels_per_group();
  const int64_t out_channels = problem.out_channels_per_group();
  const int64_t input_positions = problem.batch * volume(problem.input);
  switch (direction) {
    case Direction::grad_input:
      return {problem.groups, input_positions, in_channels, out_channels * volume(problem.kernel)};
    case Direction::grad_weight:
      return {problem.groups, in_channels, out_channels * volume(problem.kernel), input_positions};
    case Direction::forward:
      break;
  }
  GemmView view{problem.groups, problem.batch, out_channels, in_channels};
  for (int axis = 0; axis < 3; ++axis) {
    int64_t classes = 0, outputs = 0, taps = 0;
    for (const AxisResidue& axis_class : axis_residues(problem, axis)) {
      if (axis_class.num_outputs == 0) continue;
      ++classes;
      outputs = std::max(outputs, axis_class.num_outputs);
      taps = std::max(taps, axis_class.num_taps);
    }
    view.num_gemms *= classes;
    view.m *= outputs;
    view.k *= taps;
  }
  return view;
}

}  // namespace convt3d
