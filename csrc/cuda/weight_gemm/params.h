// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is told: one call in numbers.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace convt3d::cuda::weight_gemm {

// input or grad_output, as the loading warps see it.
struct Side {
  const void* data;
  int64_t stride[5];  // n, c, d, h, w
  int extent[3];
  int step[3];        // positions of the tensor between neighbouring rows of the tile
  int channels;       // of a group
  int tile_channels;  // of a block
  int rows;           // that are loaded
  int pitch;          // bytes
  int lanes;          // neighbouring lanes that take a row's 16-byte pieces
  bool whole_pieces;  // 16 bytes can be copied at once
};

struct Params {
  Side input, output;
  float* partial;  // [splits][taps][in_channels][out_channels / groups]
  int batch, groups;
  int kernel[3], stride[3], dilation[3], padding[3];
  int step[3], tap_step[3];  // AxisSteps: step and dilation
  int taps[3], tap_groups[3];
  int box[4], tiles[4], all_tiles;
  int halo[3], line;
  int positions, output_offset, stage_bytes, stages;  // bytes of a stage, and before the halo
  int in_parts, out_parts, units, warps;
  int in_tiles, out_tiles, jobs, splits;
};

}  // namespace convt3d::cuda::weight_gemm
