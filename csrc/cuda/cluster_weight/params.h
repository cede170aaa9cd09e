// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is told: one call in numbers.
#pragma once
#include "cuda/cluster_weight/config.h"
#include "cuda/common/divisor.cuh"

namespace convt3d::cuda::cluster_weight {

struct Params {
  const void *input, *output;
  void* result;                         // [in_channels][columns]
  int in_channels, columns, positions;  // M, N, K
  int split_positions, splits;          // of a block; blocks of a cluster
  Divisor blocks, column_tiles;         // `splits`; tiles side by side
  int input_piece, output_piece;        // bytes copied at once
  bool store_pieces;                    // 16 bytes of the result can be stored at once
  Divisor width, height, depth;         // of input
  Divisor volume;                       // their product
  // Of grad_output. A column is a tap and one of `out_channels`, or with lines the other way round;
  // flat calls have one tap.
  Divisor out_channels, kernel_h, kernel_w;
  int extent[3], stride[3], padding[3], dilation[3];
  int image;  // elements
};

}  // namespace convt3d::cuda::cluster_weight
