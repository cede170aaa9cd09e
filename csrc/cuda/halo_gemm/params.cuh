// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is given, and how it is cut into units of work.
#pragma once
#include <cstdint>

#include "cuda/halo_gemm/tuning.h"

namespace convt3d::cuda::halo_gemm {

// geometry/residue.h, of one axis; and the taps of the residues before it.
struct Residue {
  int first_output, num_outputs, first_tap, num_taps, first_input, taps_before;
};

struct Axis {
  Residue residue[kMaxStride];
  int stride, dilation, input_step, tap_step, kernel, input;
};

struct Params {
  const unsigned char* packed;  // see weight_pack.cuh
  const void* weight;
  const void* bias;  // may be null
  void* output;
  int64_t bias_stride;
  int64_t weight_stride[5], output_stride[5];
  Axis axis[3];
  int batch, in_channels, out_channels;
  // Config
  int warpgroups, steps, chunks, chunk_channels, column_tiles;
  int strip, pitch, lines, planes, strips, tiles;
  int stage_bytes, weight_bytes;  // of a stage of input, of all stages of weights
  int input_stages, weight_stages, weight_group;
  bool resident;
  // Marching: input planes from the first that finishes an output plane on; output planes, padding.
  int first_plane, marching_steps, outputs, padding;
  int tile_cost;      // marching: of all residues of a tile and its column tiles
  unsigned items;     // not marching
  unsigned char order[kMaxResidues];  // of residues, most taps first
};

// One residue of one tile, not yet multiplied.
struct Unit {
  int column_tile, strip, first;  // position
  int residue[3];
  int begin, end;  // marching: input planes that finish an output plane
  int plane_taps;  // of one input plane
  int block;       // its first block of weights
  int shift;       // rows from the first to the last that a row's taps read

  __device__ void set(const Params& p, bool marching, int d, int h, int w) {
    residue[0] = d;
    residue[1] = h;
    residue[2] = w;
    const int taps_h = axis(p, 1).num_taps, taps_w = axis(p, 2).num_taps;
    plane_taps = taps_h * taps_w;
    shift = max(taps_h - 1, 0) * p.axis[1].input_step * p.pitch +
            max(taps_w - 1, 0) * p.axis[2].input_step;
    block = (column_tile * (marching ? 1 : p.axis[0].kernel) * p.axis[1].kernel * p.axis[2].kernel +
             taps_before(p, marching)) *
            p.chunks;
  }
  __device__ const Residue& axis(const Params& p, int a) const {
    return p.axis[a].residue[residue[a]];
  }
  // Residues lie one after another, the last axis fastest.
  __device__ int taps_before(const Params& p, bool marching) const {
    const Residue &d = axis(p, 0), &h = axis(p, 1), &w = axis(p, 2);
    const int before = marching ? 0 : d.taps_before, taps = marching ? 1 : d.num_taps;
    return (before * p.axis[1].kernel + taps * h.taps_before) * p.axis[2].kernel +
           taps * h.num_taps * w.taps_before;
  }
};

__device__ __forceinline__ int take(unsigned* index, int radix) {
  const unsigned rest = *index / radix;
  const int digit = static_cast<int>(*index - rest * radix);
  *index = rest;
  return digit;
}

// The units of a block, in order; the same for all its roles.
template <bool kMarching>
class Walk;

// Residues with most taps come first, tiles of one residue are dealt out to and fro: the sums of
// the blocks differ by less than one unit.
template <>
class Walk<false> {
 public:
  __device__ Walk(const Params&) {}
  __device__ bool next(const Params& p, Unit* unit) {
    const unsigned place = round_ % 2 == 0 ? blockIdx.x : gridDim.x - 1 - blockIdx.x;
    unsigned index = round_ * gridDim.x + place;
    ++round_;
    if (index >= p.items) return false;
    unit->column_tile = take(&index, p.column_tiles);
    unit->first = take(&index, p.tiles) * p.warpgroups * kGroupRows;
    unit->strip = take(&index, p.strips);
    unsigned residue = p.order[index];
    const int w = take(&residue, p.axis[2].stride), h = take(&residue, p.axis[1].stride);
    unit->set(p, false, static_cast<int>(residue), h, w);
    return true;
  }

 private:
  unsigned round_ = 0;
};

// All input planes of all residues of all tiles are one line, each as long as its taps and one
// more; a block has an equal part of it, which may start and end within a march.
template <>
class Walk<true> {
 public:
  __device__ Walk(const Params& p) {
    const int64_t total = int64_t{p.tile_cost} * (p.tiles * p.strips);
    at_ = static_cast<int>(total * blockIdx.x / gridDim.x);
    end_ = static_cast<int>(total * (blockIdx.x + 1) / gridDim.x);
  }
  __device__ bool next(const Params& p, Unit* unit) {
    while (at_ < end_) {
      unsigned tile = at_;
      int rest = take(&tile, p.tile_cost);
      unit->first = take(&tile, p.tiles) * p.warpgroups * kGroupRows;
      unit->strip = static_cast<int>(tile);
      const int column_cost = p.tile_cost / p.column_tiles;
      unit->column_tile = rest / column_cost;
      rest -= unit->column_tile * column_cost;
      int plane;
      for (int h = 0, w = 0;;) {
        unit->set(p, true, 0, h, w);
        plane = unit->plane_taps + 1;
        if (rest < plane * p.marching_steps) break;
        rest -= plane * p.marching_steps;
        if (++w == p.axis[2].stride) w = 0, ++h;
      }
      const int start = at_ - rest;
      unit->begin = (rest + plane - 1) / plane;
      unit->end = min(p.marching_steps, (end_ - start + plane - 1) / plane);
      at_ = start + plane * p.marching_steps;
      if (unit->begin < unit->end) return true;
    }
    return false;
  }

 private:
  int at_, end_;
};

}  // namespace convt3d::cuda::halo_gemm
