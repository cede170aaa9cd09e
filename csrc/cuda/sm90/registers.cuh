// SPDX-License-Identifier: BSD-3-Clause
// Registers that one warpgroup hands to another. All four warps of a warpgroup call this; those
// that take wait until there are enough, so that the others must give theirs. The kernel's
// __launch_bounds__ name its threads.
#pragma once

namespace convt3d::cuda::sm90 {

template <int kRegisters>
__device__ __forceinline__ void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
__device__ __forceinline__ void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace convt3d::cuda::sm90
