// SPDX-License-Identifier: BSD-3-Clause
// One call as the kernel sees it, and the place of a thread in it.
#pragma once
#include <cstdint>

#include "cuda/common/divisor.cuh"
#include "cuda/few_channels/tuning.h"

namespace convt3d::cuda::few_channels {

// The taps of each residue of one axis, as geometry/residue.h counts them:
//   tap = first_tap + j * tap_step,  input = cell - first_shift - j * shift_step
// grad_input's taps, by class instead of residue, go up:
//   input = scale * cell - first_shift + j * shift_step * scale
// but on the outer axis, where all are of one class: - j * shift_step, with the dilation negated.
struct Taps {
  int first_tap[kMaxStride], num_taps[kMaxStride], first_shift[kMaxStride];
  int tap_step, shift_step;
};

// Axes are {outer, run, w}: d and h in either order, the run being the one that runs fill better.
struct FewChannels {
  const void* input;
  const void* weight;
  const void* bias;  // may be null
  void* output;
  int64_t bias_stride;
  int64_t input_bytes[5];    // strides in bytes: n, c, outer, run, w
  int64_t row_bytes;         // from the input row of a cell to that of the next one of its run
  int64_t weight_stride[5];  // in, out, outer, run, w
  int64_t weight_group;      // from a group to the next
  int64_t output_stride[5];
  int input_extent[3], output_extent[3], kernel[3], stride[3], padding[3];
  int scale[3], base_w;  // grad_input: tap 0 of a cell is at scale * cell - base
  int dilation_w;
  Taps taps[2];       // of outer and run
  int first_cell[3];  // cell q of an axis holds outputs stride * q - padding + {0 .. stride - 1}
  int cells[3];       // on the run axis: runs of cells
  int groups, in_channels, out_channels;  // channels of one group
  int lanes, tile_outs, tiles_per_group;  // tiles_per_group: planes only
  int items;                              // positions of a block x residues of outer and run
  int blocks_per_tile;
  int tile_cells[3];  // scatter: cells of a block
  Divisor by_cells[3], by_residues[2];
  Divisor by_tile_outs, by_ins, by_outs, by_kernel[3];
  Divisor by_tiles[3], by_extent[3], by_tile_cells[3], by_channel_tiles;  // scatter
  int positions;     // cells (runs) of the whole call
  bool long_loads;   // input: one load brings all `ins` channels
  bool long_stores;  // output: one store takes all `outs` channels
};

// Where a thread is: its cell, or the first cell of its run, and the residues of its block.
struct Place {
  int n, outer, run, w;  // cells; run is the first of kCells
  int residue[2];
  bool active;  // false for threads beyond the last position, which only take part in shuffles
};

template <int kCells>
__device__ __forceinline__ Place find_place(const FewChannels& p, int item, int own_position,
                                            int positions_per_block) {
  Place place;
  place.residue[1] = divide(&item, p.by_residues[1]);
  place.residue[0] = divide(&item, p.by_residues[0]);
  int position = item * positions_per_block + own_position;
  place.active = own_position < positions_per_block && position < p.positions;
  place.w = p.first_cell[2] + divide(&position, p.by_cells[2]);
  place.run = p.first_cell[1] + divide(&position, p.by_cells[1]) * kCells;
  place.outer = p.first_cell[0] + divide(&position, p.by_cells[0]);
  place.n = position;
  return place;
}

__device__ __forceinline__ bool within(int coordinate, int extent) {
  return static_cast<unsigned>(coordinate) < static_cast<unsigned>(extent);
}

}  // namespace convt3d::cuda::few_channels
