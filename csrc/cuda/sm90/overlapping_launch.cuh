// SPDX-License-Identifier: BSD-3-Clause
// Programmatic dependent launch: a kernel's blocks start, and prepare themselves, while the last
// blocks of the launch before it still run.
#pragma once
#include "cuda/common/launch.h"

namespace convt3d::cuda::sm90 {

// Launches the second of two. In a chain of three the second also waits for the first before it
// ends, or the third would not.
template <typename... Arguments>
void launch_overlapping(const char* what, void (*kernel)(Arguments...), Grid grid,
                        Arguments... arguments) {
  grid.overlapping = true;
  launch_grid(what, kernel, grid, arguments...);
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
