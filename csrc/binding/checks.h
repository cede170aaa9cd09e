// SPDX-License-Identifier: BSD-3-Clause
// The one argument checker, run by eager kernels and by the fake implementations. torch's words
// where torch is consistent; the safe error where it is not (docs/numerics.md lists those).
// Order: dims, dtype, device, list lengths, signs, groups, channels, bias, output_padding, output.
#pragma once
#include <optional>
#include <span>
#include <string_view>

#include "geometry/gemm_view.h"
#include "geometry/problem.h"

namespace convt3d {

// What follows borrows all it refers to; a call that passes builds no text and allocates nothing.
using Ints = std::span<const int64_t>;

struct TensorArgument {
  Ints sizes;
  std::string_view dtype;        // torch's name without the prefix: "float32"
  std::string_view device_type;  // "cpu", "cuda", "meta"
  int device_index = -1;         // none

  bool same_device(const TensorArgument& other) const {
    return device_type == other.device_type && device_index == other.device_index;
  }
};

// One call of an op, with the tensors in the op's own order.
struct Arguments {
  Direction direction = Direction::forward;
  TensorArgument first;   // input, or grad_output in the gradient ops
  TensorArgument second;  // weight; input in grad_weight
  std::optional<TensorArgument> bias;
  Ints extent;  // input_size of grad_input, kernel_size of grad_weight
  Ints stride, padding, output_padding, dilation;
  int64_t groups = 1;
};

struct Checked {
  Problem problem;
  bool batched = true;
};

// Throws std::runtime_error with the message for the user; returns the call as a problem.
Checked check(const Arguments& arguments);

}  // namespace convt3d
