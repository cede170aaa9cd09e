// SPDX-License-Identifier: BSD-3-Clause
// Every op's schema. Argument order as in aten's conv_transpose3d.
#include <torch/csrc/stable/library.h>

#include <string>

namespace {

const std::string kParameters =
    "int[3] stride=1, int[3] padding=0, int[3] output_padding=0, int groups=1, "
    "int[3] dilation=1, *, bool allow_tf32=True";

// The public op, and the private one that runs a named family or raises its reason for refusing.
void define(torch::stable::detail::StableLibrary& m, const std::string& name,
            const std::string& tensors) {
  m.def((name + "(" + tensors + ", " + kParameters + ") -> Tensor").c_str());
  m.def(("_" + name + "_as(" + tensors + ", " + kParameters + ", str family) -> Tensor").c_str());
}

}  // namespace

STABLE_TORCH_LIBRARY(convt3d, m) {
  define(m, "forward", "Tensor input, Tensor weight, Tensor? bias=None");
  define(m, "grad_input", "Tensor grad_output, Tensor weight, SymInt[3] input_size");
  define(m, "grad_weight", "Tensor grad_output, Tensor input, SymInt[3] kernel_size");
  // Those two at once, of operands that are no more than memory (_autograd.py).
  m.def(("_gradients(Tensor grad_output, Tensor input, Tensor weight, " + kParameters +
         ") -> (Tensor, Tensor)")
            .c_str());
}
