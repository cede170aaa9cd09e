// SPDX-License-Identifier: BSD-3-Clause
// A problem's axes as kernels take them: 32 bits, which supports() has checked.
#pragma once
#include "geometry/problem.h"

namespace convt3d::cuda {

struct Axes {
  int input_extent[3], output_extent[3], kernel[3], stride[3], padding[3], dilation[3];
};

inline Axes make_axes(const Problem& problem) {
  const Extent3 output = problem.output();
  Axes axes{};
  for (int axis = 0; axis < 3; ++axis) {
    axes.input_extent[axis] = static_cast<int>(problem.input[axis]);
    axes.output_extent[axis] = static_cast<int>(output[axis]);
    axes.kernel[axis] = static_cast<int>(problem.kernel[axis]);
    axes.stride[axis] = static_cast<int>(problem.stride[axis]);
    axes.padding[axis] = static_cast<int>(problem.padding[axis]);
    axes.dilation[axis] = static_cast<int>(problem.dilation[axis]);
  }
  return axes;
}

}  // namespace convt3d::cuda
