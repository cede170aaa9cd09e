// SPDX-License-Identifier: BSD-3-Clause
// Matrix fragments from shared memory, and asynchronous copies into it.
#pragma once
#include <cstdint>

namespace convt3d::cuda {

// Four 8 x 16-byte matrices; lanes 8 * i .. 8 * i + 7 give the row addresses of matrix i.
__device__ __forceinline__ void ldmatrix(uint32_t (&fragment)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(row));
}

// 16 bytes to shared memory: the first `bytes` of them from `source`, zeros behind. Who reads them
// waits on a barrier, which orders memory for the compiler as well.
__device__ __forceinline__ void copy_async(uint32_t destination, const void* source, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source),
               "r"(bytes));
}

__device__ __forceinline__ void store_shared(uint32_t address, uint4 value) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(value.x),
               "r"(value.y), "r"(value.z), "r"(value.w)
               : "memory");
}

}  // namespace convt3d::cuda
