// SPDX-License-Identifier: BSD-3-Clause
// What paired_kernel.cuh is given beside Params, and the order of its work.
#pragma once
#include "cuda/common/divisor.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_gemm/paired.h"
#include "cuda/halo_gemm/paired_tuning.h"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/walk.cuh"

namespace convt3d::cuda::halo_gemm {

// Params::axis[2] has one residue here, which stands for both: its taps are all shifts.
struct PairedParams {
  PairedTaps taps[2];  // of a matrix
  int step_w, blocks;
  int stages, stage_bytes;
  int slab_tiles, slabs;
  // Units of a slab; its tiles, and those of the last one; tiles of a strip. And of Params.
  Divisor slab_units, of_slab, of_last_slab, tiles, column_tiles, pitch, lines, planes;
  unsigned char order_d[kMaxResidues], order_h[kMaxResidues];  // of residues, most taps first
  int outputs, lead;                                           // of a line; paired.h
  bool aligned;  // all lines, and what a lane has of them, begin at pieces
  // Where a shift is no tap of a residue (paired_special.cuh).
  bool leaks;
  const void *input, *weight;
  int64_t input_stride[5], weight_stride[5];
  Residue of_w[2];  // as the matrices
  int tap_step_w;
};

// Addresses in shared memory.
struct PairedShared {
  uint32_t stages, places, full, empty;
  float* bias;  // [column tiles * channels], zeros without one

  __device__ PairedShared(const PairedParams& q, unsigned char* memory, int channels) {
    const uint32_t start = shared_address(memory);
    stages = (start + kSwizzleAlign - 1) / kSwizzleAlign * kSwizzleAlign;
    places = stages + q.stages * q.stage_bytes;
    full = places + paired_table_bytes();
    empty = full + 8 * kPairedMaxStages;
    bias = reinterpret_cast<float*>(memory + (empty + 8 * kPairedMaxStages - start));
  }
};

// The units of a block, in order. Tiles make slabs, one tile or so for each SM; of a slab all
// residues follow each other, those with most taps first, so that they find its input in L2, and
// each block has its share of all.
struct PairedWalk {
  __device__ static bool next(const Params& p, const PairedParams& q, int round, Unit* unit) {
    const unsigned place = round % 2 == 0 ? blockIdx.x : gridDim.x - 1 - blockIdx.x;
    const unsigned index = round * gridDim.x + place;
    if (index >= p.items) return false;
    int slab = static_cast<int>(index);
    int residue = divide(&slab, q.slab_units);
    unit->column_tile = divide(&residue, q.column_tiles);
    const int in_slab = divide(&residue, slab == q.slabs - 1 ? q.of_last_slab : q.of_slab);
    unit->strip = slab * q.slab_tiles + in_slab;
    const int rows = p.warpgroups * kGroupRows;
    unit->first = divide(&unit->strip, q.tiles) * rows;
    // Planes, as in set_item().
    int item = unit->first, last = unit->first + rows - 1;
    divide(&item, q.pitch);
    divide(&item, q.lines);
    divide(&last, q.pitch);
    divide(&last, q.lines);
    const int planes = last - item;
    unit->from_plane = divide(&item, q.planes);
    unit->to_plane = unit->from_plane + planes;
    if (unit->to_plane >= p.planes) {
      if (item < p.batch - 1) unit->from_plane = 0;
      unit->to_plane = p.planes - 1;
    }
    unit->set(p, q.order_d[residue], q.order_h[residue], 0);
    return true;
  }
};

// A line of positions.
struct PairedLine {
  int h, d, n;
  __device__ PairedLine(const PairedParams& q, int index) : n(index) {
    h = divide(&n, q.lines);
    d = divide(&n, q.planes);
  }
};

}  // namespace convt3d::cuda::halo_gemm
