// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace convt3d::cuda {

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) [[likely]] {
    return;
  }
  throw std::runtime_error(std::string("convt3d: ") + what +
                           " failed: " + cudaGetErrorString(error));
}

}  // namespace convt3d::cuda
