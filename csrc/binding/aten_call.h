// SPDX-License-Identifier: BSD-3-Clause
// The CPU family `aten`: torch's own kernels, through the dispatcher.
#pragma once
#include "binding/tensor.h"

namespace convt3d {

// first and second are the op's own tensors; the result has this size and stride.
Tensor run_aten(const Description& description, const Tensor& first, const Tensor& second,
                const std::optional<Tensor>& bias, Ints size, Ints stride);

}  // namespace convt3d
