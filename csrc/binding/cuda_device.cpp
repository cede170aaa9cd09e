// SPDX-License-Identifier: BSD-3-Clause
#ifdef CONVT3D_WITH_CUDA
#include "binding/cuda_device.h"

#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <array>
#include <mutex>
#include <stdexcept>
#include <string>

// In libtorch_cuda only: weak, so that the same binary loads beside a CPU-only torch.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**);

namespace convt3d {
namespace {

constexpr int kOldestArch = 80;  // limit: setup.py builds no older code

int attribute(cudaDeviceAttr name, int index) {
  int value = 0;
  const cudaError_t error = cudaDeviceGetAttribute(&value, name, index);
  if (error == cudaErrorInsufficientDriver) {
    throw std::runtime_error("convt3d_ext is built with CUDA " +
                             std::to_string(CUDART_VERSION / 1000) +
                             " and needs an NVIDIA driver of that generation or later "
                             "(CUDA 13: driver 580); please update the driver");
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
    if (devices[index].arch < kOldestArch) {
      throw std::runtime_error(
          "convt3d_ext needs a GPU of compute capability 8.0 or later, and cuda:" +
          std::to_string(index) + " has " + std::to_string(devices[index].arch / 10) + "." +
          std::to_string(devices[index].arch % 10));
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
