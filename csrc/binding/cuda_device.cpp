// SPDX-License-Identifier: BSD-3-Clause
#ifdef CONVT3D_WITH_CUDA
#include "binding/cuda_device.h"

#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <array>
#include <mutex>
#include <stdexcept>
#include <string>

#include "plan/binary_code.h"

// In libtorch_cuda only: weak, so that the same binary loads beside a CPU-only torch.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**);

namespace convt3d {
namespace {

int attribute(cudaDeviceAttr name, int index) {
  int value = 0;
  const cudaError_t error = cudaDeviceGetAttribute(&value, name, index);
  if (error == cudaErrorInsufficientDriver) {
    throw std::runtime_error(old_driver_error(CUDART_VERSION));
  }
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("cudaDeviceGetAttribute failed: ") +
                             cudaGetErrorString(error));
  }
  return value;
}

}  // namespace

const Device& cuda_device(int index) {
  constexpr int kMaxDevices = 64;  // limit: torch's own C10_COMPILE_TIME_MAX_GPUS is 120 or less
  static std::array<Device, kMaxDevices> devices;
  static std::array<std::once_flag, kMaxDevices> queried;
  if (index < 0 || index >= kMaxDevices) {
    throw std::runtime_error("convt3d_ext supports 64 CUDA devices, got cuda:" +
                             std::to_string(index));
  }
  std::call_once(queried[index], [&] {
    devices[index].kind = DeviceKind::cuda;
    devices[index].arch = 10 * attribute(cudaDevAttrComputeCapabilityMajor, index) +
                          attribute(cudaDevAttrComputeCapabilityMinor, index);
    devices[index].num_sms = attribute(cudaDevAttrMultiProcessorCount, index);
    if (!has_code(CONVT3D_CUDA_ARCHS, devices[index].arch)) {
      const std::string text = no_code_warning(index, devices[index].arch, CONVT3D_CUDA_ARCHS);
      aoti_torch_warn(__func__, __FILE__, __LINE__, text.c_str());
      devices[index].arch = 0;
    }
  });
  return devices[index];
}

void* current_stream(int device_index) {
  void* stream = nullptr;
  if (&aoti_torch_get_current_cuda_stream == nullptr ||
      aoti_torch_get_current_cuda_stream(device_index, &stream) != 0) {
    throw std::runtime_error("this PyTorch was built without CUDA");
  }
  return stream;
}

}  // namespace convt3d
#endif  // CONVT3D_WITH_CUDA
