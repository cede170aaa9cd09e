// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/sm90/tensor_map.h"

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "cuda/common/cuda_check.h"
#include "cuda/sm90/walk_limits.h"
#include "cuda/sm90/walk_map.h"

namespace convt3d::cuda::sm90 {
namespace {

template <typename Encode>
Encode* find_encoder(const char* name) {
  constexpr unsigned kVersion = 12000;  // of CUDA, the first that has it
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion(name, &function, kVersion, cudaEnableDefault, &found),
        name);
  if (found != cudaDriverEntryPointSuccess) {
    throw std::runtime_error(std::string("convt3d: this driver has no ") + name);
  }
  return reinterpret_cast<Encode*>(function);
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

template <typename TryEncode>
void encode_or_throw(const TryEncode& try_encode) {
  CUresult result = try_encode();
  if (result == CUDA_ERROR_INVALID_CONTEXT) {
    bind_device();
    result = try_encode();
  }
  if (result != CUDA_SUCCESS) {
    throw std::runtime_error("convt3d: the driver refuses a tensor map, error " +
                             std::to_string(static_cast<int>(result)));
  }
}

}  // namespace

CUtensorMap encode(const TensorBox& tensor) {
  static const auto encode_tiled =
      find_encoder<decltype(cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
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
  encode_or_throw([&] {
    return encode_tiled(&map, data_type(tensor.precision), 5, const_cast<void*>(tensor.data),
                        extent, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                        swizzle(tensor.swizzled, box[0] * bytes),
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  });
  return map;
}

CUtensorMap encode(const Walk& walk) {
  static const auto encode_walk =
      find_encoder<decltype(cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  const int64_t bytes = element_bytes(walk.precision);
  cuuint64_t extent[5], stride[4];
  cuuint32_t step[5] = {1, 1, 1, 1, 1};
  int lower[3], upper[3];
  for (int i = 0; i < 5; ++i) {
    extent[i] = static_cast<cuuint64_t>(walk.extent[i]);
    // Any stride does for an axis of extent 1, but the encoder wants one that is possible.
    const int64_t row = (walk.extent[0] * bytes + 15) / 16 * 16;
    if (i > 0) {
      stride[i - 1] = static_cast<cuuint64_t>(walk.extent[i] == 1 ? row : walk.stride[i] * bytes);
    }
  }
  for (int i = 0; i < 3; ++i) {
    step[1 + i] = static_cast<cuuint32_t>(walk.step[i]);
    lower[i] = static_cast<int>(walk.first[i]);
    upper[i] = static_cast<int>(
        upper_corner(walk.first[i], walk.count[i], walk.step[i], walk.extent[1 + i]));
  }
  CUtensorMap map;
  encode_or_throw([&] {
    return encode_walk(&map, data_type(walk.precision), 5, const_cast<void*>(walk.data), extent,
                       stride, lower, upper, static_cast<cuuint32_t>(walk.channels),
                       static_cast<cuuint32_t>(walk.positions), step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                       swizzle(true, walk.channels * bytes), CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                       CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  });
  return map;
}

}  // namespace convt3d::cuda::sm90
