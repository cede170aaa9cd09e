// SPDX-License-Identifier: BSD-3-Clause
// What halo_gemm multiplies, in forward's names. Forward is itself. grad_input is the convolution
//
//   input[i] = sum over taps t of weight[t] * output[s i + d t - p]
//
// whose input is grad_output and whose output is grad_input, with the channel axes of the weight
// exchanged and its taps in reverse. grad_output falls into the classes of geometry/residue.h, the
// outputs of one residue each: a class is a dense tensor to its taps, and one sum goes through all.
#pragma once
#include <array>
#include <vector>

#include "geometry/residue.h"
#include "plan/description.h"

namespace convt3d::cuda::halo_gemm {

// Residue of an axis, and the inputs that its taps read: input_offset + input_stride * i.
struct ProductResidue : AxisResidue {
  int64_t inputs, input_offset;
};

struct Product {
  // Its stride is that of a residue's outputs, 1 in grad_input. With a stride grad_input has no
  // padding of its own, and `output()` means nothing.
  Problem problem;
  Layout input, output;
  bool reversed;         // grad_input
  bool sums;             // over residues: grad_input with a stride
  Extent3 input_stride;  // of a residue's inputs
  std::array<std::vector<ProductResidue>, 3> axis;
};

inline Product make_product(const Description& description) {
  const Problem& p = description.problem;
  Product product{};
  product.problem = p;
  product.input = description.input;
  product.output = description.output;
  product.input_stride = {1, 1, 1};
  product.reversed = description.direction == Direction::grad_input;
  product.sums = product.reversed && volume(p.stride) > 1;
  if (product.reversed) {
    Problem& q = product.problem;
    std::swap(product.input, product.output);
    std::swap(q.in_channels, q.out_channels);
    q.input = p.output();
    q.stride = {1, 1, 1};
    product.input_stride = p.stride;
    for (int a = 0; a < 3; ++a) {
      q.padding[a] = p.dilation[a] * (p.kernel[a] - 1) - p.padding[a];
      q.output_padding[a] = -p.output_padding[a];
    }
  }
  for (int a = 0; a < 3; ++a) {
    for (const AxisResidue& from : axis_residues(p, a)) {
      ProductResidue to{from, p.input[a], 0};
      if (product.reversed) {
        const int64_t reach = (from.num_taps - 1) * from.input_step;
        to.inputs = from.num_outputs;
        to.input_offset = from.first_output;
        to.first_output = 0;
        to.num_outputs = p.input[a];
        to.first_tap = p.kernel[a] - 1 - (from.first_tap + from.tap_step * (from.num_taps - 1));
        to.first_input = reach - from.first_input;
      }
      product.axis[a].push_back(to);
    }
  }
  return product;
}

}  // namespace convt3d::cuda::halo_gemm
