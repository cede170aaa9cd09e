// SPDX-License-Identifier: BSD-3-Clause
// Copies from global to shared memory that do not occupy the thread (compute capability 8.0 and
// later). 32-bit shared addresses, as PTX has them.
#pragma once
#include <cstdint>

namespace convt3d::cuda {

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// kBytes (4, 8 or 16, and so aligned), or zeros where not `there`: nothing is read then.
template <int kBytes>
__device__ __forceinline__ void copy_or_zero_async(uint32_t target, const void* source,
                                                   bool there) {
  const int bytes = there ? kBytes : 0;
  if constexpr (kBytes == 16) {  // past L1: what a tile reads, no other reads soon on this SM
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source),
                 "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(source),
                 "n"(kBytes), "r"(bytes)
                 : "memory");
  }
}

// Closes the group of all copies since the last call; empty groups count.
__device__ __forceinline__ void copies_commit() { asm volatile("cp.async.commit_group;"); }

// Waits for this thread's groups but the kPending youngest.
template <int kPending>
__device__ __forceinline__ void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace convt3d::cuda
