// SPDX-License-Identifier: BSD-3-Clause
// A tensor of any strides in tiles of positions with K contiguous, as wgmma reads 32-bit operands:
//
//   [group][column tile][tile][high, low of float32][chunk][column][32 positions]
//
// Rounded to TF32; for float32 also what that leaves. A line of 32 positions is swizzled by TMA as
// it is loaded, not here. What lies outside of the tensor is zeros.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/sm90/line.h"

namespace convt3d::cuda::sm90 {

struct TilePack {
  const float* source;
  int64_t stride[5];  // n, c, d, h, w
  int extent[3];
  bool channels_inner;          // neighbouring channels are neighbours, or nearer than positions
  int batch, groups, channels;  // of a group
  int columns, column_tiles;
  int box[4], tiles[4], all_tiles;
  int positions;  // of a tile, a multiple of kChunk
  Order order;
  bool split;  // high and low parts
  float* packed;
  bool overlapping = false;  // as the second of overlapping_launch.cuh; else the first
};

void pack_tiles(const TilePack& pack, int num_sms, cudaStream_t stream);

}  // namespace convt3d::cuda::sm90
