// SPDX-License-Identifier: BSD-3-Clause
// Programmatic dependent launch: a kernel's blocks start, and prepare themselves, while the last
// blocks of the launch before it still run.
#pragma once
#include <cuda_runtime_api.h>

namespace convt3d::cuda::sm90 {

// The second of two launches gets this attribute.
inline cudaLaunchAttribute overlapping_launch() {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  return attribute;
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
