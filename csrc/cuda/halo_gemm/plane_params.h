// SPDX-License-Identifier: BSD-3-Clause
// What plane_kernel.cuh is given, and the order in which its blocks walk through grad_output.
#pragma once
#include <cstdint>

#include "cuda/halo_gemm/plane_tuning.h"

namespace convt3d::cuda::halo_gemm {

struct PlaneParams {
  const unsigned char* weights;  // [block of 64 channels][rank][tap][row][64 bytes]
  void* result;                  // grad_input
  int64_t result_stride[5];      // n, c, d, h, w
  int channels;                  // of grad_input
  int result_extent[3], source_extent[3], padding[3], kernel[3], stride[3];  // source: grad_output
  int lines, tiles;  // of grad_input in a tile, and tiles of a plane
  int pitch, extra;  // rows of a line, and behind the last line (plane_march.cpp)
  int slot_bytes, slots;
  int row_bytes, class_bytes;     // of a row, and from a residue of w to the other
  int first_half;                 // residue of w that its first tap reads
  bool paired;                    // both residues of w in a row (plane_load.cuh)
  bool split;                     // a stage has one residue of w
  int weight_rows, weight_bytes;  // of a tap, and of all
  int units, blocks;              // planes of all tiles; blocks of 64 channels
  int ranks, rank_sources;        // blocks of a cluster, and channels of grad_output of each
  int mail_bytes;                 // of all warps (plane_join.cuh)

  // Taps of h or w that read a residue. Strides are 1 or 2, and divisions as slow as the products
  // of a stage.
  __host__ __device__ int taps(int axis, int residue) const {
    return (kernel[axis] - residue + stride[axis] - 1) >> (stride[axis] - 1);
  }
};

// What a block does, in order; the same for all its roles. A unit is a plane of grad_input of a
// tile; units of a tile that follow each other are one march, whose planes of grad_output are
// u = o + padding = stride * plane + tap, each loaded once: a stage per residue of h, and (`split`)
// of w.
struct PlaneWalk {
  int unit, end;         // what is left
  int item, first_line;  // of the march: batch item, and line of grad_input
  int from, to;          // its planes of grad_input
  int first, last;       // and of grad_output

  __device__ explicit PlaneWalk(const PlaneParams& p) {
    const int together = p.blocks * p.ranks;
    const int share = gridDim.x / together, of = blockIdx.x / together;
    unit = static_cast<int>(int64_t{p.units} * of / share);
    end = static_cast<int>(int64_t{p.units} * (of + 1) / share);
  }

  __device__ bool next(const PlaneParams& p) {
    if (unit >= end) return false;
    const int tile = unit / p.result_extent[0];
    from = unit - tile * p.result_extent[0];
    to = min(p.result_extent[0], from + end - unit);
    unit += to - from;
    item = tile / p.tiles;
    first_line = (tile - item * p.tiles) * p.lines;
    first = p.stride[0] * from;
    last = p.stride[0] * (to - 1) + p.kernel[0] - 1;
    return true;
  }

  // Whether plane u has stages.
  __device__ bool loads(const PlaneParams& p, int u) const {
    const int z = u - p.padding[0];
    return z >= 0 && z < p.source_extent[0] && (plane(p, u, 0) >= 0 || plane(p, u, 1) >= 0);
  }
  // The plane of grad_input that plane u is for, of the even (group 0) or odd ones; -1 without.
  __device__ int plane(const PlaneParams& p, int u, int group) const {
    int at = u >> (p.stride[0] - 1);
    if ((at & 1) != group) --at;
    return at >= from && at < to && u - p.stride[0] * at < p.kernel[0] ? at : -1;
  }
};

}  // namespace convt3d::cuda::halo_gemm
