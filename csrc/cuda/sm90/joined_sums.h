// SPDX-License-Identifier: BSD-3-Clause
// What joined_sums.cuh needs of memory.
#pragma once
#include <cstdint>

namespace convt3d::cuda::sm90 {

// Bytes of two tiles of each block; `sums` are those of a thread.
constexpr int64_t joined_memory_bytes(int64_t blocks, int64_t threads, int64_t sums) {
  return 2 * blocks * threads * sums * 4;
}

// Of each block's last tile and each warp.
constexpr int64_t arrived_count(int64_t blocks, int64_t threads) { return blocks * threads / 32; }

}  // namespace convt3d::cuda::sm90
