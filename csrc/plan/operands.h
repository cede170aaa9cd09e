// SPDX-License-Identifier: BSD-3-Clause
// Tensors as kernels see them: raw pointers, strides in elements, no torch.
#pragma once
#include <array>
#include <cstdint>
#include <functional>

namespace convt3d {

struct TensorView {
  void* data = nullptr;
  std::array<int64_t, 5>
      stride{};  // activations: n, c, d, h, w; weight: in, out/groups, kd, kh, kw
};

// The three tensors of the bilinear form. The direction says which of them is written:
// forward writes output, grad_input writes input, grad_weight writes weight. In the gradient
// directions `output` holds grad_output.
struct Operands {
  TensorView input;            // [batch, in_channels, *input]
  TensorView weight;           // [in_channels, out_channels / groups, *kernel]
  TensorView output;           // [batch, out_channels, *output]
  const void* bias = nullptr;  // [out_channels], forward only; may be null
  int64_t bias_stride = 1;
};

// Calls body(begin, end) over disjoint pieces of [0, count), on several threads.
using ParallelFor = std::function<void(int64_t count, int64_t grain,
                                       const std::function<void(int64_t, int64_t)>& body)>;

}  // namespace convt3d
