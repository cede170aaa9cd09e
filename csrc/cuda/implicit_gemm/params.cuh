// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is given, and how it is cut into work items.
#pragma once
#include <cstdint>

#include "cuda/implicit_gemm/tuning.h"

namespace convt3d::cuda::implicit_gemm {

// geometry/residue.h, of one axis; and the taps of the residues before it.
struct Residue {
  int first_output, num_outputs, first_tap, num_taps, first_input, taps_before;
};

struct Axis {
  Residue residue[kMaxStride];
  int stride, dilation, input_step, tap_step, kernel;
  int input;  // extent
  int tiles;  // of the residue with most outputs
  // Of a tile at origin 0: the first input that any residue's taps read, and how many from there.
  int halo_first, halo;
};

struct Params {
  const void* input;
  const unsigned char* packed;  // see weight_pack.cuh
  const void* bias;             // may be null
  const void* weight;           // as the caller has it, for what fp32 computes exactly
  void* output;
  int64_t bias_stride;
  int64_t input_stride[5], weight_stride[5], output_stride[5];
  Axis axis[3];
  int box[4];
  int batch, in_channels, out_channels;
  int column_tiles, chunks, taps, halo_rows;
  int input_stages, weight_stages, weight_group;  // blocks in a stage of weights
  int residues, item_residues;  // of the problem, and of an item: all of them or one
  bool vectorized;              // input rows can be read in 16-byte pieces
  bool whole_stores;            // a position's output channels are contiguous and aligned
  unsigned items;
};

// One class of outputs.
struct ResidueSet {
  int index[3];
  const Residue* axis[3];
  int taps;
  int first_tap;  // its place among all taps, residue by residue

  __device__ void set(const Params& p) {
    taps = 1;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      axis[a] = &p.axis[a].residue[index[a]];
      taps *= axis[a]->num_taps;
    }
    const Residue &d = *axis[0], &h = *axis[1], &w = *axis[2];
    first_tap = (d.taps_before * p.axis[1].kernel + d.num_taps * h.taps_before) * p.axis[2].kernel +
                d.num_taps * h.num_taps * w.taps_before;
  }
  __device__ void next(const Params& p) {
    if (++index[2] == p.axis[2].stride) {
      index[2] = 0;
      if (++index[1] == p.axis[1].stride) {
        index[1] = 0;
        ++index[0];
      }
    }
    if (index[0] < p.axis[0].stride) set(p);
  }
};

// A tap of the kernel: its residue, and its place among that one's taps.
struct Tap {
  ResidueSet set;
  int step[3], rank;

  __device__ Tap(const Params& p, int tap) {
    int at[3];
    at[2] = tap % p.axis[2].kernel;
    at[1] = tap / p.axis[2].kernel % p.axis[1].kernel;
    at[0] = tap / p.axis[2].kernel / p.axis[1].kernel;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      set.index[a] = at[a] * p.axis[a].dilation % p.axis[a].stride;
      step[a] = (at[a] - p.axis[a].residue[set.index[a]].first_tap) / p.axis[a].tap_step;
    }
    set.set(p);
    rank = (step[0] * set.axis[1]->num_taps + step[1]) * set.axis[2]->num_taps + step[2];
  }
  // By how many halo rows it shifts a tile.
  __device__ int shift(const Params& p) const {
    int row = 0;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      row = row * p.axis[a].halo + set.axis[a]->first_input - step[a] * p.axis[a].input_step -
            p.axis[a].halo_first;
    }
    return row;
  }
};

// One tile of one residue, or of all. Tiles of the same input are neighbours in the order.
struct Item {
  int column_tile;
  int origin[4];        // of the tile, in a residue's outputs
  ResidueSet residues;  // the first; p.item_residues of them

  __device__ Item(const Params& p, unsigned index) {
    column_tile = take(&index, p.column_tiles);
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      residues.index[a] = p.item_residues == 1 ? take(&index, p.axis[a].stride) : 0;
    }
    residues.set(p);
#pragma unroll
    for (int a = 2; a >= 0; --a) origin[1 + a] = take(&index, p.axis[a].tiles) * p.box[1 + a];
    origin[0] = static_cast<int>(index) * p.box[0];
  }

  // Whether it reads any input: a single residue may have no taps.
  __device__ bool has_taps(const Params& p) const {
    return p.item_residues > 1 || residues.taps > 0;
  }

  // Offset of the halo's first row in the input, in elements; it may lie outside.
  __device__ int64_t first_input(const Params& p) const {
    int64_t offset = origin[0] * p.input_stride[0];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      offset += (origin[1 + a] + p.axis[a].halo_first) * p.input_stride[2 + a];
    }
    return offset;
  }

 private:
  static __device__ int take(unsigned* index, int radix) {
    const unsigned rest = *index / radix;
    const int digit = static_cast<int>(*index - rest * radix);
    *index = rest;
    return digit;
  }
};

}  // namespace convt3d::cuda::implicit_gemm
