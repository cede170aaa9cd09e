// SPDX-License-Identifier: BSD-3-Clause
// A checked launch, with what <<<>>> does not say.
#pragma once
#include <cuda_runtime_api.h>

#include "cuda/common/cuda_check.h"

namespace convt3d::cuda {

struct Grid {
  dim3 blocks, threads;
  int shared_bytes;
  cudaStream_t stream;
  bool overlapping = false;  // with the launch before (sm90/overlapping_launch.cuh)
  int cluster = 1;           // blocks of one
};

template <typename... Arguments>
void launch_grid(const char* what, void (*kernel)(Arguments...), const Grid& grid,
                 Arguments... arguments) {
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (grid.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {static_cast<unsigned>(grid.cluster), 1, 1};
  }
  if (grid.overlapping) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = static_cast<size_t>(grid.shared_bytes);
  config.stream = grid.stream;
  config.attrs = attributes;
  config.numAttrs = count;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), what);
}

}  // namespace convt3d::cuda
