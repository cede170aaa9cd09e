// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_weight/fold.h"

#include <numeric>

#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_weight {
namespace {

// Whether the taps of an axis meet all of grad_output, and each element once.
bool meets_once(const Problem& p, size_t axis) {
  return p.padding[axis] == 0 && (p.dilation[axis] == 1 || p.kernel[axis] == 1) &&
         (p.stride[axis] == p.kernel[axis] || p.input[axis] == 1) &&
         p.output()[axis] == p.input[axis] * p.kernel[axis];
}

// Axes, from w on, whose taps are channels.
size_t axes_folded(const Description& description) {
  const Problem& p = description.problem;
  if (p.groups != 1 || description.output != description.weight) return 0;
  size_t axes = 0;
  // Beyond an axis of several positions, what follows is no tap.
  while (axes < 3 && meets_once(p, 2 - axes) && (axes == 0 || p.input[3 - axes] == 1)) ++axes;
  if (description.output == Layout::ndhwc) return axes;
  return description.output == Layout::ncdhw && volume(p.input) == 1 && axes == 3 ? axes : 0;
}

// The positions of grad_output that taps meet: every `step`th from `first` on.
struct Met {
  int64_t first, step;

  Met(const Problem& p, size_t axis) : first(0), step(1) {
    if (p.input[axis] == 1) return;
    const int64_t factor =
        p.kernel[axis] == 1 ? p.stride[axis] : std::gcd(p.stride[axis], p.dilation[axis]);
    const int64_t start = (factor - p.padding[axis] % factor) % factor;
    if (start >= p.output()[axis]) return;
    first = start;
    step = factor;
  }
};

// The axis of the layer that has these positions alone.
void thin(const Met& met, size_t axis, Problem* p) {
  if (met.step == 1) return;
  const int64_t positions = ceil_div(p->output()[axis] - met.first, met.step);
  p->stride[axis] /= met.step;
  p->dilation[axis] = p->kernel[axis] == 1 ? 1 : p->dilation[axis] / met.step;
  p->padding[axis] = (p->padding[axis] + met.first) / met.step;
  p->output_padding[axis] = 0;
  p->output_padding[axis] = positions - p->output()[axis];
}

// Positions that are channels.
int64_t side_of(const Description& description, const Description& fold) {
  return fold.problem.out_channels / folded(description).problem.out_channels;
}

}  // namespace

Description folded(const Description& description) {
  const size_t axes = axes_folded(description);
  Description result = description;
  for (size_t axis = 0; axis < 3; ++axis) {
    thin(Met(description.problem, axis), axis, &result.problem);
  }
  for (size_t axis = 3 - axes; axis < 3; ++axis) {
    result.problem.out_channels *= result.problem.kernel[axis];
    result.problem.kernel[axis] = 1;
    result.problem.stride[axis] = 1;
    result.problem.dilation[axis] = 1;
    result.problem.output_padding[axis] = 0;
  }
  if (axes == 3 && volume(description.problem.input) == 1) {
    result.output = result.weight = Layout::ndhwc;
    if (description.input == Layout::ncdhw) result.input = Layout::ndhwc;
  }
  return result;
}

Description widened(const Description& description) {
  Description result = folded(description);
  Problem& p = result.problem;
  const int64_t side = p.stride[2], width = p.output()[2];
  const bool rows = result.output == Layout::ndhwc && result.weight == Layout::ndhwc;
  if (p.groups != 1 || !rows || side == 1 || width % side != 0 || p.kernel[2] == 1 ||
      p.kernel[2] <= p.padding[2] || description.problem.dilation[2] != 1) {
    return result;
  }
  const int64_t before = ceil_div(p.padding[2], side);
  p.kernel[2] = before + ceil_div(p.kernel[2] - p.padding[2], side);
  p.out_channels *= side;
  p.padding[2] = before;
  p.stride[2] = 1;
  p.output_padding[2] = 0;
  p.output_padding[2] = width / side - p.output()[2];
  return result;
}

Operands folded(const Description& description, const Description& fold, const Operands& operands) {
  const size_t axes = axes_folded(description);
  Operands result = operands;
  const int64_t element = element_bytes(description.precision);
  for (size_t axis = 0; axis < 3; ++axis) {
    const Met met(description.problem, axis);
    int64_t& stride = result.output.stride[2 + axis];
    result.output.data =
        static_cast<unsigned char*>(result.output.data) + met.first * stride * element;
    stride *= met.step;
  }
  if (const int64_t side = side_of(description, fold); side > 1) {
    result.output.stride[1] = result.weight.stride[1] = 1;
    result.output.stride[4] = result.weight.stride[4] = fold.problem.out_channels;
  }
  if (axes == 0) return result;
  const int64_t channels = fold.problem.out_channels;
  for (size_t axis = 3 - axes; axis < 3; ++axis) {
    result.output.stride[2 + axis] = channels;
    result.weight.stride[2 + axis] = channels;
  }
  result.output.stride[1] = 1;
  result.weight.stride[1] = 1;
  if (volume(description.problem.input) == 1) result.input.stride[1] = 1;
  return result;
}

Line line_of(const Description& description, const Description& fold) {
  const Problem &p = description.problem, &wide = fold.problem;
  const int64_t side = side_of(description, fold);
  if (side == 1) return {};
  return {(side * wide.padding[2] - p.padding[2]) * p.out_channels, p.kernel[2] * p.out_channels};
}

const char* fold_name(const Description& description, const Description& fold) {
  if (side_of(description, fold) > 1) return ", positions as channels";
  if (fold == description) return "";
  return axes_folded(description) > 0 ? ", taps as channels" : ", positions that taps meet";
}

}  // namespace convt3d::cuda::halo_weight
