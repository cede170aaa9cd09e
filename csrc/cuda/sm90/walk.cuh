// SPDX-License-Identifier: BSD-3-Clause
// Loads by walk_map.h's maps.
#pragma once
#include <cuda.h>

#include <cstdint>

namespace convt3d::cuda::sm90 {

// Channels from `c` on, of the positions from {w, h, d, n} on as the walk goes, each shifted by
// the offsets (0 to 31).
__device__ __forceinline__ void load_walk(uint32_t destination, const CUtensorMap* map,
                                          uint32_t barrier, int c, int w, int h, int d, int n,
                                          int shift_w, int shift_h, int shift_d) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6, %7}], [%2], {%8, %9, %10};" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(d), "r"(n),
      "h"(static_cast<uint16_t>(shift_w)), "h"(static_cast<uint16_t>(shift_h)),
      "h"(static_cast<uint16_t>(shift_d))
      : "memory");
}

}  // namespace convt3d::cuda::sm90
