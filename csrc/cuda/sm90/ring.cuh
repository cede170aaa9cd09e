// SPDX-License-Identifier: BSD-3-Clause
// A ring of stages in shared memory, each with a barrier for "full" and one for "empty".
#pragma once
#include <cstdint>

#include "cuda/sm90/mbarrier.cuh"

namespace convt3d::cuda::sm90 {

// Walks the ring: the stage, and the parity of its phase.
struct Ring {
  int stage = 0;
  uint32_t parity = 0;

  __device__ void next(int stages) {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// By each consumer warp, when it is done with a stage. `barrier`: that of stage 0.
__device__ __forceinline__ void release(uint32_t barrier, const Ring& ring) {
  if (threadIdx.x % 32 == 0) barrier_arrive(barrier + 8 * ring.stage);
}

}  // namespace convt3d::cuda::sm90
