// SPDX-License-Identifier: BSD-3-Clause
// Programmatic dependent launch: a kernel's blocks start, and prepare themselves, while the last
// blocks of the launch before it still run.
#pragma once
#include <cuda_runtime_api.h>

#include "cuda/common/cuda_check.h"

namespace convt3d::cuda::sm90 {

// The second of two launches gets this attribute.
inline cudaLaunchAttribute overlapping_launch() {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  return attribute;
}

struct Grid {
  dim3 blocks, threads;
  int shared_bytes;
  cudaStream_t stream;
};

// Launches the second of two. In a chain of three the second also waits for the first before it
// ends, or the third would not.
template <typename... Arguments>
void launch_overlapping(const char* what, void (*kernel)(Arguments...), const Grid& grid,
                        Arguments... arguments) {
  cudaLaunchAttribute attribute = overlapping_launch();
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = static_cast<size_t>(grid.shared_bytes);
  config.stream = grid.stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), what);
}

#ifdef __CUDACC__
// In the first: blocks of the second may start once all blocks of this have called it or ended.
__device__ __forceinline__ void let_next_launch_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// In the second, before it reads what the first writes.
__device__ __forceinline__ void wait_for_earlier_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
#endif

}  // namespace convt3d::cuda::sm90
