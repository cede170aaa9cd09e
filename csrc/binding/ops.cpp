// SPDX-License-Identifier: BSD-3-Clause
// The life of a call: check, describe, plan, allocate, launch.
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "binding/aten_call.h"
#include "binding/checks.h"
#include "binding/cuda_device.h"
#include "binding/launch_counts.h"
#include "binding/tensor.h"
#include "cpu/cpu.h"
#include "plan/family.h"
#ifdef CONVT3D_WITH_CUDA
#include "cuda/cuda.h"
#endif

namespace convt3d {
namespace {

// As the dispatcher hands them over.
using List = std::vector<int64_t>;

struct Parameters {
  Ints stride, padding, output_padding;
  int64_t groups;
  Ints dilation;
  bool allow_tf32;
  std::string_view family;  // empty: the planner decides
};

Array5 result_size(const Problem& p, Direction direction) {
  const Extent3 output = p.output();
  switch (direction) {
    case Direction::forward:
      return {p.batch, p.out_channels, output[0], output[1], output[2]};
    case Direction::grad_input:
      return {p.batch, p.in_channels, p.input[0], p.input[1], p.input[2]};
    case Direction::grad_weight:
      return {p.in_channels, p.out_channels_per_group(), p.kernel[0], p.kernel[1], p.kernel[2]};
  }
  return {};
}

TensorView view(const Tensor& tensor, const Geometry5& geometry) {
  return {const_cast<void*>(tensor.const_data_ptr()), geometry.stride};
}

Device cpu_device() {
  Device device;
  device.num_threads = static_cast<int>(torch::stable::get_num_threads());
  return device;
}

void run_on_cpu(Family family, const Description& description, const Operands& operands,
                void* workspace) {
  cpu::launch(family, description, operands, workspace,
              [](int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
                torch::stable::parallel_for(0, count, grain, body);
              });
}

void run_on_cuda(Family family, const Description& description, const Device& device,
                 const Operands& operands, void* workspace, int device_index) {
#ifdef CONVT3D_WITH_CUDA
  cuda::launch(family, description, device, operands, workspace, current_stream(device_index));
#else
  (void)family, (void)description, (void)device, (void)operands, (void)workspace;
  (void)device_index;
  throw std::runtime_error("this convt3d_ext was built without CUDA");
#endif
}

Tensor run(Direction direction, const Tensor& first, const Tensor& second,
           const std::optional<Tensor>& bias, Ints extent, const Parameters& parameters) {
  Arguments arguments{direction,
                      describe(first),
                      describe(second),
                      {},
                      extent,
                      parameters.stride,
                      parameters.padding,
                      parameters.output_padding,
                      parameters.dilation,
                      parameters.groups};
  if (bias) arguments.bias = describe(*bias);
  const Checked checked = check(arguments);
  const Problem& problem = checked.problem;

  const Geometry5 first_geometry = geometry5(first), second_geometry = geometry5(second);
  const Array5 size = result_size(problem, direction);
  const bool channels_last =
      suggests_channels_last(first_geometry) || suggests_channels_last(second_geometry);
  const Geometry5 result_geometry{size, dense_strides(size, channels_last)};
  const bool drop_batch = !checked.batched && direction != Direction::grad_weight;
  const Ints result_sizes = Ints(size).subspan(drop_batch);
  const Ints result_strides = Ints(result_geometry.stride).subspan(drop_batch);

  if (problem.batch == 0) {
    Tensor result = allocate(result_sizes, result_strides, first);
    return direction == Direction::grad_weight ? torch::stable::zero_(result) : result;
  }

  Description description;
  description.problem = problem;
  description.direction = direction;
  description.precision = precision_of(first.scalar_type(), parameters.allow_tf32, problem.groups);
  description.has_bias = bias.has_value();
  // Which tensor of the bilinear form each operand is.
  const bool is_forward = direction == Direction::forward;
  const bool is_grad_input = direction == Direction::grad_input;
  const Geometry5& input = is_forward      ? first_geometry
                           : is_grad_input ? result_geometry
                                           : second_geometry;
  const Geometry5& weight = direction == Direction::grad_weight ? result_geometry : second_geometry;
  const Geometry5& output = is_forward ? result_geometry : first_geometry;
  description.input = layout_of(input);
  description.weight = layout_of(weight);
  description.output = layout_of(output);

  std::optional<torch::stable::accelerator::DeviceGuard> guard;
  Device device = cpu_device();
#ifdef CONVT3D_WITH_CUDA
  if (first.is_cuda()) {
    guard.emplace(first.get_device_index());
    device = cuda_device(first.get_device_index());
  }
#endif
  const std::string family(parameters.family);
  const Candidate& candidate =
      family.empty() ? plan(description, device) : forced(family, description, device);
  count_launch(device.kind, candidate.family, direction);
  if (candidate.family == Family::aten) {
    return run_aten(description, first, second, bias, result_sizes, result_strides);
  }

  Tensor result = allocate(result_sizes, result_strides, first);
  const Tensor& input_tensor = is_forward ? first : is_grad_input ? result : second;
  const Tensor& weight_tensor = direction == Direction::grad_weight ? result : second;
  Operands operands{view(input_tensor, input), view(weight_tensor, weight),
                    view(is_forward ? result : first, output)};
  if (bias) {
    operands.bias = bias->const_data_ptr();
    operands.bias_stride = bias->stride(0);
  }
  const int64_t bytes = candidate.workspace_bytes(description, device);
  std::optional<Tensor> workspace;
  if (bytes > 0) workspace = allocate_bytes(bytes, first);
  void* scratch = workspace ? workspace->mutable_data_ptr() : nullptr;
  if (device.kind == DeviceKind::cpu) {
    run_on_cpu(candidate.family, description, operands, scratch);
  } else {
    run_on_cuda(candidate.family, description, device, operands, scratch, first.get_device_index());
  }
  return result;
}

Tensor forward_as(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                  const List& stride, const List& padding, const List& output_padding,
                  int64_t groups, const List& dilation, bool allow_tf32,
                  const std::string& family) {
  return run(Direction::forward, input, weight, bias, {},
             {stride, padding, output_padding, groups, dilation, allow_tf32, family});
}

Tensor grad_input_as(const Tensor& grad_output, const Tensor& weight, const List& input_size,
                     const List& stride, const List& padding, const List& output_padding,
                     int64_t groups, const List& dilation, bool allow_tf32,
                     const std::string& family) {
  return run(Direction::grad_input, grad_output, weight, {}, input_size,
             {stride, padding, output_padding, groups, dilation, allow_tf32, family});
}

Tensor grad_weight_as(const Tensor& grad_output, const Tensor& input, const List& kernel_size,
                      const List& stride, const List& padding, const List& output_padding,
                      int64_t groups, const List& dilation, bool allow_tf32,
                      const std::string& family) {
  return run(Direction::grad_weight, grad_output, input, {}, kernel_size,
             {stride, padding, output_padding, groups, dilation, allow_tf32, family});
}

Tensor forward(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
               const List& stride, const List& padding, const List& output_padding, int64_t groups,
               const List& dilation, bool allow_tf32) {
  return forward_as(input, weight, bias, stride, padding, output_padding, groups, dilation,
                    allow_tf32, "");
}

Tensor grad_input(const Tensor& grad_output, const Tensor& weight, const List& input_size,
                  const List& stride, const List& padding, const List& output_padding,
                  int64_t groups, const List& dilation, bool allow_tf32) {
  return grad_input_as(grad_output, weight, input_size, stride, padding, output_padding, groups,
                       dilation, allow_tf32, "");
}

Tensor grad_weight(const Tensor& grad_output, const Tensor& input, const List& kernel_size,
                   const List& stride, const List& padding, const List& output_padding,
                   int64_t groups, const List& dilation, bool allow_tf32) {
  return grad_weight_as(grad_output, input, kernel_size, stride, padding, output_padding, groups,
                        dilation, allow_tf32, "");
}

// Both gradients in one trip through the dispatcher.
std::tuple<Tensor, Tensor> gradients(const Tensor& grad_output, const Tensor& input,
                                     const Tensor& weight, const List& stride, const List& padding,
                                     const List& output_padding, int64_t groups,
                                     const List& dilation, bool allow_tf32) {
  const Parameters parameters{stride, padding, output_padding, groups, dilation, allow_tf32, ""};
  const auto extents = [](const Tensor& tensor) {
    return Ints(tensor.sizes().data(), tensor.sizes().size()).last(3);
  };
  return {run(Direction::grad_input, grad_output, weight, {}, extents(input), parameters),
          run(Direction::grad_weight, grad_output, input, {}, extents(weight), parameters)};
}

void implement(torch::stable::detail::StableLibrary& m) {
  m.impl("forward", TORCH_BOX(&forward));
  m.impl("grad_input", TORCH_BOX(&grad_input));
  m.impl("grad_weight", TORCH_BOX(&grad_weight));
  m.impl("_gradients", TORCH_BOX(&gradients));
  m.impl("_forward_as", TORCH_BOX(&forward_as));
  m.impl("_grad_input_as", TORCH_BOX(&grad_input_as));
  m.impl("_grad_weight_as", TORCH_BOX(&grad_weight_as));
}

}  // namespace
}  // namespace convt3d

STABLE_TORCH_LIBRARY_IMPL(convt3d, CPU, m) { convt3d::implement(m); }
#ifdef CONVT3D_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(convt3d, CUDA, m) { convt3d::implement(m); }
#endif
