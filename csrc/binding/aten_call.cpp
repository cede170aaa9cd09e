// SPDX-License-Identifier: BSD-3-Clause
#include "binding/aten_call.h"

#include <torch/csrc/stable/stableivalue_conversions.h>

#include "cpu/aten.h"

namespace convt3d {
namespace {

using torch::stable::detail::from;

// Additions that are worth another thread.
constexpr int64_t kGrain = 32768;

torch::headeronly::IntHeaderOnlyArrayRef list(const Extent3& extent) {
  return {extent.data(), extent.size()};
}

Tensor cast(const Tensor& tensor, std::optional<ScalarType> dtype) {
  return dtype ? torch::stable::to(tensor, dtype) : tensor;
}

Tensor batched(const Tensor& tensor) {
  return tensor.dim() == 4 ? torch::stable::unsqueeze(tensor, 0) : tensor;
}

Tensor convolution(const Problem& p, const Tensor& input, const Tensor& weight,
                   const std::optional<Tensor>& bias) {
  std::array<StableIValue, 9> stack{
      from(input),           from(weight),           from(bias), from(list(p.stride)),
      from(list(p.padding)), from(list(p.dilation)), from(true), from(list(p.output_padding)),
      from(p.groups)};
  TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::convolution", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

// Only the wanted one of the three gradients is computed.
Tensor convolution_backward(const Problem& p, const Tensor& grad_output, const Tensor& input,
                            const Tensor& weight, Direction direction) {
  const bool wants_input = direction == Direction::grad_input;
  const std::array<bool, 3> wanted{wants_input, !wants_input, false};
  std::array<StableIValue, 11> stack{
      from(grad_output),
      from(input),
      from(weight),
      from(std::optional<std::vector<int64_t>>()),
      from(list(p.stride)),
      from(list(p.padding)),
      from(list(p.dilation)),
      from(true),
      from(list(p.output_padding)),
      from(p.groups),
      from(torch::headeronly::HeaderOnlyArrayRef<bool>(wanted.data(), wanted.size()))};
  TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::convolution_backward", "", stack.data(), TORCH_ABI_VERSION));
  const Tensor gradients[] = {torch::stable::detail::to<Tensor>(stack[0]),
                              torch::stable::detail::to<Tensor>(stack[1]),
                              torch::stable::detail::to<Tensor>(stack[2])};
  return gradients[wants_input ? 0 : 1];
}

// aten's result with exactly these strides: as it is, relabelled where only dimensions of extent 1
// differ, copied otherwise.
Tensor with_strides(const Tensor& value, Ints size, Ints stride) {
  const auto actual = value.strides();
  bool same = true, same_order = true;
  for (size_t dim = 0; dim < size.size(); ++dim) {
    same = same && actual[dim] == stride[dim];
    same_order = same_order && (size[dim] == 1 || actual[dim] == stride[dim]);
  }
  if (same) return value;
  if (same_order) {
    AtenTensorHandle handle = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch__reinterpret_tensor(
        value.get(), static_cast<int64_t>(size.size()), size.data(), stride.data(), 0, &handle));
    return Tensor(handle);
  }
  Tensor copy = allocate(size, stride, value);
  return torch::stable::copy_(copy, value);
}

// Adds the bias to a float32 output that is dense in one of the two orders.
void add_bias(const Tensor& output, const Tensor& bias) {
  const Geometry5 geometry = geometry5(output);
  const auto& [batch, channels, d, h, w] = geometry.size;
  const bool channels_last = geometry.stride != dense_strides(geometry.size, false);
  float* values = static_cast<float*>(output.mutable_data_ptr());
  const float* addends = static_cast<const float*>(bias.const_data_ptr());
  const int64_t row = channels_last ? channels : d * h * w;
  const int64_t rows = output.numel() / row, of_channels = channels, stride = bias.stride(0);
  torch::stable::parallel_for(0, rows, 1 + kGrain / row, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* own = values + r * row;
      if (channels_last) {
        for (int64_t c = 0; c < row; ++c) own[c] += addends[c * stride];
      } else {
        const float addend = addends[r % of_channels * stride];
        for (int64_t i = 0; i < row; ++i) own[i] += addend;
      }
    }
  });
}

}  // namespace

Tensor run_aten(const Description& description, const Tensor& first, const Tensor& second,
                const std::optional<Tensor>& bias, Ints size, Ints stride) {
  const Problem& p = description.problem;
  std::optional<ScalarType> compute;
  if (!first.is_cuda() && cpu::aten::upcasts(description)) compute = ScalarType::Float;
  const Tensor a = batched(cast(first, compute)), b = batched(cast(second, compute));
  Tensor value;
  if (description.direction == Direction::forward) {
    const bool apart = !first.is_cuda() && cpu::aten::adds_bias(description);
    std::optional<Tensor> cast_bias;
    if (bias) cast_bias = cast(*bias, compute);
    value = convolution(p, a, b, apart ? std::nullopt : cast_bias);
    if (apart) {
      const Array5 shape = geometry5(value).size;
      const bool channels_last = description.output == Layout::ndhwc;
      value = with_strides(value, shape, dense_strides(shape, channels_last));
      add_bias(value, *cast_bias);
    }
  } else {
    // aten asks for the tensor whose gradient this is; only its metadata is read.
    const Tensor wanted = batched(allocate(size, stride, a));
    value = description.direction == Direction::grad_input
                ? convolution_backward(p, a, wanted, b, description.direction)
                : convolution_backward(p, a, b, wanted, description.direction);
  }
  if (size.size() == 4) value = torch::stable::squeeze(value, 0);
  return with_strides(cast(value, compute ? std::optional(first.scalar_type()) : std::nullopt),
                      size, stride);
}

}  // namespace convt3d
