// SPDX-License-Identifier: BSD-3-Clause
// Channels in shared memory in chunks of 16 bytes, a row of a matrix that ldmatrix loads and half
// of the K of mma.sync.
#pragma once
#include <cstdint>

namespace convt3d::cuda {

inline constexpr int kChunkBytes = 16;

// Elements of a chunk.
constexpr int chunk_of(int64_t element_bytes) {
  return static_cast<int>(kChunkBytes / element_bytes);
}

}  // namespace convt3d::cuda
