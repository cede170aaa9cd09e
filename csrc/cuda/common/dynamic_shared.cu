// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/common/dynamic_shared.h"

#include <cuda_runtime_api.h>

#include <set>
#include <utility>

#include "cuda/common/cuda_check.h"

namespace convt3d::cuda {

void allow_shared_memory(const void* kernel, const char* what) {
  // Each thread asks once for a kernel and device; no lock is worth it.
  thread_local std::set<std::pair<int, const void*>> allowed;
  int device = 0;
  check(cudaGetDevice(&device), what);
  if (allowed.contains({device, kernel})) return;
  int most = 0;
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), what);
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, kernel), what);
  most -= static_cast<int>(attributes.sharedSizeBytes);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), what);
  allowed.insert({device, kernel});
}

}  // namespace convt3d::cuda
