// SPDX-License-Identifier: BSD-3-Clause
#include "binding/tensor.h"

#include <algorithm>

namespace convt3d {
namespace {

// Dimensions from the innermost to the outermost.
constexpr std::array<int, 5> kInnermostFirst{4, 3, 2, 1, 0};
constexpr std::array<int, 5> kChannelsInnermost{1, 4, 3, 2, 0};

bool is_dense(const Geometry5& geometry, const std::array<int, 5>& order) {
  int64_t expected = 1;
  for (int dim : order) {
    if (geometry.size[dim] == 1) continue;
    if (geometry.stride[dim] != expected) return false;
    expected *= geometry.size[dim];
  }
  return true;
}

const char* dtype_name(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Double:
      return "float64";
    case ScalarType::Float:
      return "float32";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Bool:
      return "bool";
    case ScalarType::ComplexHalf:
      return "complex32";
    case ScalarType::ComplexFloat:
      return "complex64";
    case ScalarType::ComplexDouble:
      return "complex128";
    default:
      return torch::headeronly::toString(dtype);
  }
}

const char* device_type_name(torch::headeronly::DeviceType type) {
  switch (type) {
    case torch::headeronly::DeviceType::CPU:
      return "cpu";
    case torch::headeronly::DeviceType::Meta:
      return "meta";
    case torch::headeronly::DeviceType::CUDA:
      return "cuda";
    default:
      return "another device";
  }
}

}  // namespace

Geometry5 geometry5(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  Geometry5 geometry{};
  std::copy(sizes.begin(), sizes.end(), geometry.size.end() - sizes.size());
  std::copy(strides.begin(), strides.end(), geometry.stride.end() - strides.size());
  if (sizes.size() == 4) {  // as unsqueeze(0) would have it
    geometry.size[0] = 1;
    geometry.stride[0] = geometry.size[1] * geometry.stride[1];
  }
  return geometry;
}

TensorArgument describe(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const auto device = tensor.device();
  const bool has_index = device.type() != torch::headeronly::DeviceType::CPU &&
                         device.type() != torch::headeronly::DeviceType::Meta;
  return {Ints(sizes.data(), sizes.size()), dtype_name(tensor.scalar_type()),
          device_type_name(device.type()), has_index ? device.index() : -1};
}

Precision precision_of(ScalarType dtype, bool allow_tf32, int64_t groups) {
  switch (dtype) {
    case ScalarType::Double:
      return Precision::fp64;
    case ScalarType::Half:
      return Precision::fp16;
    case ScalarType::BFloat16:
      return Precision::bf16;
    default:
      return allow_tf32 && groups == 1 ? Precision::tf32 : Precision::fp32;
  }
}

Layout layout_of(const Geometry5& geometry) {
  if (is_dense(geometry, kInnermostFirst)) return Layout::ncdhw;
  return is_dense(geometry, kChannelsInnermost) ? Layout::ndhwc : Layout::strided;
}

bool suggests_channels_last(const Geometry5& geometry) {
  if (geometry.stride[1] == 0) return false;
  int64_t least = 0;
  for (int dim : kChannelsInnermost) {
    if (geometry.size[dim] == 0 || geometry.stride[dim] < least) return false;
    // All strides equal to the channel's: ambiguous, and aten decides for contiguous.
    if (dim == 0 && least == geometry.stride[1]) return false;
    least = geometry.stride[dim] * std::max<int64_t>(geometry.size[dim], 1);
  }
  return true;
}

Array5 dense_strides(const Array5& size, bool channels_last) {
  Array5 stride{};
  int64_t next = 1;
  for (int dim : channels_last ? kChannelsInnermost : kInnermostFirst) {
    stride[dim] = next;
    next *= std::max<int64_t>(size[dim], 1);
  }
  return stride;
}

Tensor allocate(Ints size, Ints stride, const Tensor& like) {
  int32_t dtype = 0, device_type = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  AtenTensorHandle handle = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(static_cast<int64_t>(size.size()), size.data(),
                                                  stride.data(), dtype, device_type,
                                                  like.get_device_index(), &handle));
  return Tensor(handle);
}

Tensor allocate_bytes(int64_t bytes, const Tensor& like) {
  const int64_t stride = 1;
  int32_t device_type = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  AtenTensorHandle handle = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(1, &bytes, &stride, aoti_torch_dtype_uint8(),
                                                  device_type, like.get_device_index(), &handle));
  return Tensor(handle);
}

}  // namespace convt3d
