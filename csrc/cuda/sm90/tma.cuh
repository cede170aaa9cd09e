// SPDX-License-Identifier: BSD-3-Clause
// Boxes of a tensor from global to shared memory, by tensor maps (tensor_map.h).
#pragma once
#include <cuda.h>

#include <cstdint>

namespace convt3d::cuda::sm90 {

// Elements from {c, w, h, d, n} on; what lies outside the tensor is zeros, and counts as bytes that
// complete on the barrier. `destination` is a multiple of 128.
__device__ __forceinline__ void load_box(uint32_t destination, const CUtensorMap* map,
                                         uint32_t barrier, int c, int w, int h, int d, int n) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(d), "r"(n)
      : "memory");
}

__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

}  // namespace convt3d::cuda::sm90
