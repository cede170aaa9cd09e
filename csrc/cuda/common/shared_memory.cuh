// SPDX-License-Identifier: BSD-3-Clause
// Shared memory by 32-bit addresses, as PTX has them, and copies into it that do not occupy the
// thread (compute capability 8.0 and later).
#pragma once
#include <cstdint>

namespace convt3d::cuda {

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ uint32_t load_shared(uint32_t address) {
  uint32_t value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}

__device__ __forceinline__ void store_shared(uint32_t address, uint4 value) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(value.x),
               "r"(value.y), "r"(value.z), "r"(value.w)
               : "memory");
}

// kBytes (4, 8 or 16, and so aligned): the first `bytes` of them from `source`, zeros behind; with
// 0 nothing is read. Who reads them waits on a barrier, which orders memory for the compiler too.
template <int kBytes>
__device__ __forceinline__ void copy_async(uint32_t target, const void* source, int bytes) {
  if constexpr (kBytes == 16) {  // past L1: what a tile reads, no other reads soon on this SM
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source),
                 "r"(bytes));
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(source),
                 "n"(kBytes), "r"(bytes));
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
