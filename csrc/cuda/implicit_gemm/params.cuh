// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is given, and how it is cut into work items. Names are forward's: in grad_input
// `input` is grad_output, read in the classes of geometry/residue.h, and `output` is grad_input.
#pragma once
#include <cstdint>

#include "cuda/implicit_gemm/tuning.h"
#include "cuda/sm90/parked_sums.cuh"

namespace convt3d::cuda::implicit_gemm {

// geometry/residue.h, of one axis. Forward: a class of outputs, of all inputs. grad_input: a class
// of inputs, for all outputs. Positions count within the class.
struct Residue {
  int64_t input_offset, output_offset;  // elements before its position 0
  int num_inputs, num_outputs;
  int first_tap, num_taps;
  int taps_before;  // of the residues before it
  // Of a tile at origin 0: the first position that its taps read (forward: any residue's), how many
  // from there, and which of these tap 0 reads.
  int halo_first, halo, shift;
};

struct Axis {
  // Those with taps; in grad_input all. Which of them a tap t belongs to: place[t dilation %
  // stride].
  Residue residue[kMaxStride];
  int residues, dilation, tap_step, kernel, stride;
  unsigned char place[kMaxStride];
  int shift_step;  // from a tap of a residue to the next, in inputs
  // Where inputs of all residues are read together, the stride, else 1. The halo's inputs i are
  // then kept by i % split, `halo` / split of each, so that the outputs' inputs are neighbours
  // again.
  int split;
  int tiles;  // of the residue with most outputs
  int halo;   // of the residue with most
};

struct Params {
  const void* input;
  const unsigned char* packed;  // see weight_pack.cuh
  const void* bias;             // may be null
  const void* weight;           // as the caller has it, for what fp32 computes exactly
  void* output;
  sm90::Parking parking;
  int64_t bias_stride;
  // Of a residue's neighbouring positions; weight: {input channel, output channel, d, h, w}.
  int64_t input_stride[5], weight_stride[5], output_stride[5];
  Axis axis[3];
  int box[4];
  int batch, groups, in_channels, out_channels;  // channels of a group
  int64_t weight_group_stride;                   // elements of the weight between groups
  int column_tiles, chunks, taps, halo_rows;
  int input_stages, weight_stages, weight_group;  // blocks in a stage of weights
  int residues, item_residues;                    // of all axes, and of an item: all of them or one
  int sum_residues;                               // of an output: one in forward, all in grad_input
  bool vectorized;                                // input rows can be read in 16-byte pieces
  bool whole_stores;  // a position's output channels are contiguous and aligned
  unsigned items;
};

// One class of outputs, or of inputs.
struct ResidueSet {
  int index[3];
  const Residue* axis[3];
  int taps;
  int first_tap;  // its place among all taps, residue by residue

  ResidueSet() = default;
  // The first of all.
  __device__ explicit ResidueSet(const Params& p) : index{0, 0, 0} { set(p); }

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
  // The same made anew from `index`, so that nothing else stays in registers until then.
  __device__ void refresh(const Params& p) {
#pragma unroll
    for (int& i : index) asm volatile("" : "+r"(i));
    set(p);
  }
  __device__ void next(const Params& p) {
    if (++index[2] == p.axis[2].residues) {
      index[2] = 0;
      if (++index[1] == p.axis[1].residues) {
        index[1] = 0;
        ++index[0];
      }
    }
    if (index[0] < p.axis[0].residues) set(p);
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
      set.index[a] = p.axis[a].place[at[a] * p.axis[a].dilation % p.axis[a].stride];
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
      const int input = set.axis[a]->shift + step[a] * p.axis[a].shift_step;
      const int split = p.axis[a].split;
      row = row * p.axis[a].halo + input % split * (p.axis[a].halo / split) + input / split;
    }
    return row;
  }
};

// One tile of one residue, or of all. Tiles of the same input are neighbours in the order.
struct Item {
  int column_tile;      // of all groups
  int origin[4];        // of the tile, in a residue's outputs
  ResidueSet residues;  // one of p.item_residues

  __device__ Item(const Params& p, unsigned index) {
    column_tile = take(&index, p.groups * p.column_tiles);
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      residues.index[a] = p.item_residues == 1 ? take(&index, p.axis[a].residues) : 0;
    }
    residues.set(p);
#pragma unroll
    for (int a = 2; a >= 0; --a) origin[1 + a] = take(&index, p.axis[a].tiles) * p.box[1 + a];
    origin[0] = static_cast<int>(index) * p.box[0];
  }

  // The same with another of its residues first.
  __device__ Item(const Params& p, unsigned index, unsigned residue) : Item(p, index) {
    if (residue == 0) return;
#pragma unroll
    for (int a = 2; a >= 0; --a) residues.index[a] = take(&residue, p.axis[a].residues);
    residues.set(p);
  }

  __device__ int group(const Params& p) const {
    return p.groups == 1 ? 0 : column_tile / p.column_tiles;
  }

  // Whether it reads any input: a single residue may have no taps.
  __device__ bool has_taps(const Params& p) const {
    return p.item_residues > p.sum_residues || residues.taps > 0;
  }

  // Offset of the halo's first row in the input, in elements; it may lie outside.
  __device__ int64_t first_input(const Params& p) const {
    int64_t offset = origin[0] * p.input_stride[0] +
                     static_cast<int64_t>(group(p)) * p.in_channels * p.input_stride[1];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      offset +=
          residues.axis[a]->input_offset +
          (origin[1 + a] * p.axis[a].split + residues.axis[a]->halo_first) * p.input_stride[2 + a];
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
