// SPDX-License-Identifier: BSD-3-Clause
// One call of grad_input as the kernel sees it.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/input_config.h"

namespace convt3d::cuda::column_gemm {

struct InputParams {
  const void* output;  // grad_output
  const void* weight;
  void* input;  // grad_input, the result
  // In elements: batch, channel, d, h, w; weight: in, out, d, h, w.
  int64_t input_stride[5], weight_stride[5], output_stride[5];
  int in_channels, out_channels;
  int input_extent[3], output_extent[3], kernel[3], stride[3], padding[3];
  int cells[3], tiles[3], items;
  int box_lines[2];  // of grad_output, on d and h
  int line_rows, line_width;
  int lines, line_elements;  // as they are loaded: of all out channels, or with them side by side
  int first_slack;           // a line begins at a multiple of eight, so far before its first tap
  int columns, steps, chunks;
  int row_blocks;                            // of 32 rows of a box
  int step_w, step_h, step_d, step_channel;  // bytes in shared memory
  uint32_t stage_bytes;
  unsigned channel_divisor, line_divisor, row_block_divisor;  // of lines of a channel, on h, and
                                                              // row_blocks: see access.cuh
  bool rows;          // grad_output: out channels of a position side by side
  bool whole_loads;   // 16 bytes at a time
  bool whole_stores;  // four results at a time
};

}  // namespace convt3d::cuda::column_gemm
