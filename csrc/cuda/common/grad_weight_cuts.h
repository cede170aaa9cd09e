// SPDX-License-Identifier: BSD-3-Clause
// How grad_weight's families cut axes of positions, and where the positions' taps lie.
#pragma once
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "geometry/ceil_div.h"
#include "geometry/problem.h"

namespace convt3d::cuda {

// Lengths that cut an axis into equal parts, longest first; `most_cuts` of them.
inline std::vector<int64_t> cuts(int64_t extent, int64_t longest, size_t most_cuts) {
  std::vector<int64_t> lengths;
  for (int64_t parts = ceil_div(extent, longest); parts <= extent; ++parts) {
    const int64_t length = ceil_div(extent, parts);
    if (!lengths.empty() && lengths.back() == length) {
      parts = ceil_div(extent, length - 1) - 1;  // the next that differs
      continue;
    }
    lengths.push_back(length);
    if (lengths.size() == most_cuts) break;
  }
  return lengths;
}

// Of one axis: output + padding = common * (step * input + tap_step * tap). With common > 1 all
// taps read every common-th position of grad_output, and only these are loaded.
struct AxisSteps {
  int64_t common, step, tap_step;
};

inline AxisSteps axis_steps(const Problem& p, int axis) {
  const int64_t stride = p.stride[axis], dilation = p.dilation[axis];
  if (p.input[axis] == 1 && p.kernel[axis] > 1) return {dilation, 1, 1};
  if (p.kernel[axis] == 1) return {stride, 1, 1};
  const int64_t common = std::gcd(stride, dilation);
  return {common, stride / common, dilation / common};
}

// As explain() prints them: 2x4x8.
template <typename Values>
std::string joined(const Values& values) {
  std::string text;
  for (const auto value : values) text += (text.empty() ? "" : "x") + std::to_string(value);
  return text;
}

}  // namespace convt3d::cuda
