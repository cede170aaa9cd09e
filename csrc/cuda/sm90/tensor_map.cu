// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/sm90/tensor_map.h"

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "cuda/common/cuda_check.h"

namespace convt3d::cuda::sm90 {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encoder() {
  constexpr unsigned kVersion = 12000;  // of CUDA, the first that has it
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kVersion,
                                         cudaEnableDefault, &found),
        "finding cuTensorMapEncodeTiled");
  if (found != cudaDriverEntryPointSuccess) {
    throw std::runtime_error("convt3d: this driver has no cuTensorMapEncodeTiled");
  }
  return reinterpret_cast<Encode>(function);
}

CUtensorMapDataType data_type(Precision precision) {
  switch (precision) {
    case Precision::fp16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case Precision::bf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case Precision::tf32:
      return CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
    case Precision::fp32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case Precision::fp64:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
  }
  return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
}

CUtensorMapSwizzle swizzle(bool swizzled, int64_t bytes) {
  if (!swizzled) return CU_TENSOR_MAP_SWIZZLE_NONE;
  return bytes > 64   ? CU_TENSOR_MAP_SWIZZLE_128B
         : bytes > 32 ? CU_TENSOR_MAP_SWIZZLE_64B
                      : CU_TENSOR_MAP_SWIZZLE_32B;
}

// The runtime binds its device to a thread with the thread's first call that needs it. A thread of
// the autograd engine may come here before that.
void bind_device() {
  int device = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaSetDevice(device), "binding the device to this thread");
}

}  // namespace

CUtensorMap encode(const TensorBox& tensor) {
  static const Encode encode_tiled = find_encoder();
  const int64_t bytes = element_bytes(tensor.precision);
  cuuint64_t extent[5], stride[4];
  cuuint32_t box[5], step[5];
  for (int i = 0; i < 5; ++i) {
    extent[i] = static_cast<cuuint64_t>(tensor.extent[i]);
    // The driver wants the span, of which every `step`th element is loaded.
    box[i] = static_cast<cuuint32_t>((tensor.box[i] - 1) * tensor.step[i] + 1);
    step[i] = static_cast<cuuint32_t>(tensor.step[i]);
    // An axis of extent 1 may have any stride; the encoder wants one that is possible.
    if (i > 0) {
      stride[i - 1] = static_cast<cuuint64_t>(
          (tensor.extent[i] == 1 ? tensor.stride[1] : tensor.stride[i]) * bytes);
    }
  }
  if (tensor.extent[1] == 1) {
    const cuuint64_t row = (extent[0] * static_cast<cuuint64_t>(bytes) + 15) / 16 * 16;
    for (int i = 0; i < 4; ++i) {
      if (tensor.extent[i + 1] == 1) stride[i] = row;
    }
  }
  CUtensorMap map;
  const auto try_encode = [&] {
    return encode_tiled(&map, data_type(tensor.precision), 5, const_cast<void*>(tensor.data),
                        extent, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                        swizzle(tensor.swizzled, box[0] * bytes),
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  };
  CUresult result = try_encode();
  if (result == CUDA_ERROR_INVALID_CONTEXT) {
    bind_device();
    result = try_encode();
  }
  if (result != CUDA_SUCCESS) {
    throw std::runtime_error("convt3d: the driver refuses a tensor map, error " +
                             std::to_string(static_cast<int>(result)));
  }
  return map;
}

}  // namespace convt3d::cuda::sm90
