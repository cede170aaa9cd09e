// SPDX-License-Identifier: BSD-3-Clause
// One call as the forward kernels see it.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/config.h"

namespace convt3d::cuda::column_gemm {

// What both kernels know.
struct ForwardParams {
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
  int line_rows;  // positions of a line that are kept
  int all_cells_w;
  int column_tiles;
  int steps, chunks, stages;
  uint32_t stage_bytes, pitch;  // pitch: config.h's row_pitch or plane_pitch
  unsigned row_divisor;         // of line_rows, see access.cuh
  bool rows;                    // a position's channels are loaded 16 bytes at a time
  bool whole_loads;             // 16 bytes at a time
  bool whole_stores;            // a cell's outputs side by side are one store
  bool channels_last;           // output
};

struct Params : ForwardParams {
  int box_lines[2];  // positions of a box on d and h, with the halo
  int part_lines, parts;
  int runs;              // of 32 cells of a line
  unsigned run_divisor;  // as row_divisor
  int block_columns;
  uint16_t tile_mask[kMaxShifts];  // column tiles that have a tap at that shift
};

struct MarchParams : ForwardParams {
  int lines;           // of a plane of positions, with the halo
  int pairs, columns;  // warps beside each other, on rows and on columns
  int sum_pitch;       // floats from a column of sums to the next
  int jobs;            // cells of a plane, with their residues of d: one of a thread
  // As row_divisor: of pieces of 16 bytes of a position's channels or a line, of those (or of
  // positions) of a channel, of cells of d and h, and of w.
  unsigned piece_divisor, channel_divisor, cell_divisor, line_divisor;
  unsigned column_divisor;  // of warps on columns
  // march_load.cuh: pieces of a line, what a thread's part steps by, lines that follow each other.
  int pieces, share_step;
  bool whole_planes;
};

}  // namespace convt3d::cuda::column_gemm
