// SPDX-License-Identifier: BSD-3-Clause
// A tensor as rows of channels, where TMA cannot address it as such (NCDHW, strided tensors, rows
// that are no multiple of 16 bytes):
//
//   rows[n][d][h][w][channels, padded with zeros to 16 bytes]
#pragma once
#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>

#include "geometry/ceil_div.h"
#include "geometry/problem.h"

namespace convt3d::cuda::sm90 {

struct RowPack {
  const void* source;
  std::array<int64_t, 5> stride;  // of n, c, d, h, w
  int64_t batch, channels;
  Extent3 extent;
  int64_t element_bytes;     // 2 or 4
  void* rows;                // on 16 bytes
  bool overlapping = false;  // as the second of overlapping_launch.cuh; else the first
};

// Channels of a row, padding included.
inline int64_t row_channels(int64_t channels, int64_t element_bytes) {
  const int64_t vector = 16 / element_bytes;
  return ceil_div(channels, vector) * vector;
}

// One launch.
void pack_rows(const RowPack& pack, cudaStream_t stream);

}  // namespace convt3d::cuda::sm90
