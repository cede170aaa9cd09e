// SPDX-License-Identifier: BSD-3-Clause
// The seam to torch: stable tensors as sizes, strides, names and views, and their allocation.
#pragma once
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <array>
#include <cstdint>

#include "binding/checks.h"
#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

using Array5 = std::array<int64_t, 5>;

// Sizes and strides of an activation or weight with its batch dimension, present or implied.
struct Geometry5 {
  Array5 size;
  Array5 stride;
};
Geometry5 geometry5(const Tensor& tensor);

// Borrows the tensor's sizes.
TensorArgument describe(const Tensor& tensor);
Precision precision_of(ScalarType dtype, bool allow_tf32, int64_t groups);
// ncdhw where the strides fit both orders.
Layout layout_of(const Geometry5& geometry);
// aten's suggest_memory_format() == channels_last_3d.
bool suggests_channels_last(const Geometry5& geometry);

Array5 dense_strides(const Array5& size, bool channels_last);
Tensor allocate(Ints size, Ints stride, const Tensor& like);
Tensor allocate_bytes(int64_t bytes, const Tensor& like);

}  // namespace convt3d
