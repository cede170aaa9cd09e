// SPDX-License-Identifier: BSD-3-Clause
// One launch of box_kernel.cuh, and the entry point of each precision's kernels.
#pragma once
#include <cuda.h>
#include <cuda_runtime_api.h>

#include "cuda/cluster_weight/box_config.h"
#include "cuda/common/divisor.cuh"
#include "plan/operands.h"

namespace convt3d::cuda::cluster_weight {

struct BoxParams {
  CUtensorMap input;      // {position of a box, box, in_channel, n}
  CUtensorMap output;     // grad_output: rows of the runs, {depth, if these are lines,} channel, n
  const void* positions;  // input, where boxes are turned around
  void* result;           // [in_channels][columns]
  int in_channels, columns;
  int splits, boxes;
  Divisor blocks, column_tiles;  // `splits`; tiles side by side
  Divisor image_boxes, plane_boxes;
  bool whole;
  int box_positions, groups;
  int images, image_positions;  // of a box, of one of them in it
  int out_channels;             // of a block
  int run_rows, plane_rows;     // of the tensor map: of a run; kernel_d, of lines
  int output_bytes;             // of an image of a box of grad_output
  int stages, stage_bytes, output_at, packed_at, tail;
  int taps, kernel_h, kernel_w;
  int channel_bytes, plane_bytes, line_bytes;  // in a stage
  int step[3];                                 // bytes from one position to the next
  Divisor width, lines, planes, of_image;      // of a box; image_positions
  bool joined;        // the words of two neighbouring positions are neighbours
  bool store_pieces;  // 16 bytes of the result can be stored at once
};

struct BoxLaunch {
  BoxParams params;
  int rows;
  bool turned;
  unsigned blocks;
  int shared_bytes;
  cudaStream_t stream;
};

// False where a pointer is not aligned.
bool launch_boxes(const Description& description, const BoxConfig& config, const Shape& shape,
                  const Operands& operands, cudaStream_t stream);

// Defined in box_launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run_boxes(const BoxLaunch& call);

}  // namespace convt3d::cuda::cluster_weight
