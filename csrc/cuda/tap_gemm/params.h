// SPDX-License-Identifier: BSD-3-Clause
// What the kernels are told: one call in numbers.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/tap_gemm/config.h"

namespace convt3d::cuda::tap_gemm {

// A piece of the halo's places that a thread copies: where it is relative to the tile's first one,
// its local coordinates (kBitsN, kBitsD, kBitsH, kBitsW), and its bytes from the halo's first.
struct Slot {
  int64_t offset;  // negative: outside in all tiles
  uint32_t at;
  uint32_t target;
};

// grad_weight as it is written.
struct Result {
  float* data;
  int64_t stride[5];  // in, out / groups, kd, kh, kw
};

struct Params {
  const float* output;  // grad_output
  int64_t output_stride[5];
  int output_extent[3];
  Input input;
  int input_extent[3];
  float* packed;   // see sm90/tile_pack.h
  float* partial;  // [splits][in_channels][all rows]
  Result result;
  int batch, groups, in_channels, out_channels;  // channels of a group
  int kernel[3], stride[3], dilation[3], padding[3];
  int common[3], step[3], tap_step[3];
  int taps[3], tap_groups[3];
  int box[4], tiles[4], all_tiles;
  int halo[3], line;
  int positions, width, block_rows, group_rows, all_rows, row_tiles, column_tiles;
  int position_pitch, channel_pitch;
  bool planes;
  bool boxes;      // the halo comes by TMA; TF32: rounded
  int halo_bytes;  // of a load
  int piece;       // elements of a copy
  int slots, stages, stage_bytes, packed_bytes;
  int box_lines;  // of a load of packed input
  int jobs, splits, flush_tiles;
};

}  // namespace convt3d::cuda::tap_gemm
