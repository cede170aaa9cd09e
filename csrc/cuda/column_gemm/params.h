// SPDX-License-Identifier: BSD-3-Clause
// One call as the kernel sees it.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/config.h"

namespace convt3d::cuda::column_gemm {

struct Params {
  const void* input;
  const void* weight;
  const void* bias;  // may be null
  void* output;
  int64_t bias_stride;
  // In elements: batch, channel, d, h, w; weight: in, out, d, h, w.
  int64_t input_stride[5], weight_stride[5], output_stride[5];
  int in_channels, out_channels;
  int input_extent[3], output_extent[3], kernel[3], stride[3], padding[3];
  int shifts[2];      // of d and h
  int first_cell[2];  // of d and h
  int least_shift_w;  // the first position that a cell of w needs, less the cell
  int cells[3], tiles[3], items;
  int box_lines[2];  // positions of a box on d and h, with the halo
  int line_rows, part_lines, parts;
  int all_cells_w, runs;  // runs: of 32 cells of a line
  unsigned run_divisor;   // as row_divisor
  int column_tiles, block_columns;
  int steps, chunks, stages;
  uint32_t stage_bytes, pitch;     // pitch: config.h's row_pitch or plane_pitch
  unsigned row_divisor;            // of line_rows, see access.cuh
  bool rows;                       // a position's channels are loaded 16 bytes at a time
  bool whole_loads;                // 16 bytes at a time
  bool whole_stores;               // a cell's outputs side by side are one store
  bool channels_last;              // output
  uint16_t tile_mask[kMaxShifts];  // column tiles that have a tap at that shift
};

}  // namespace convt3d::cuda::column_gemm
