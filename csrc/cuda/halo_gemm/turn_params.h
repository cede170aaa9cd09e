// SPDX-License-Identifier: BSD-3-Clause
// What turn_kernel.cuh is given, and the order in which its blocks walk through grad_output.
#pragma once
#include <cstdint>

#include "cuda/halo_gemm/turn_tuning.h"

namespace convt3d::cuda::halo_gemm {

struct TurnParams {
  const unsigned char* weights;                // see turn_launch.cuh
  const unsigned char* source;                 // grad_output
  void* result;                                // grad_input
  int64_t source_stride[5], result_stride[5];  // n, c, d, h, w
  int channels, sources;                       // of grad_input, of grad_output
  int result_extent[3], source_extent[3], padding[3];
  int lines, tiles;    // of grad_input in a tile, and tiles of a plane
  int pitch;           // rows of a line
  int class_bytes[2];  // of a residue of w, of each residue of h
  int slot_bytes, slots;
  int elements;              // of a channel's lines of grad_output
  int raw_pitch, raw_slots;  // bytes of those
  int weight_slots;
  int chunks;         // of channels of grad_output, kTurnRowBytes each
  int units, blocks;  // planes of all tiles; blocks of channels
  bool whole, pairs;  // 16 bytes, or two elements, of grad_input are stored at once
};

// What a block does, in order; the same for all its roles. A unit is a plane of grad_input of a
// tile.
struct TurnWalk {
  int unit, end;                // what is left
  int item, first_line, plane;  // of the unit

  __device__ explicit TurnWalk(const TurnParams& p) {
    const int share = gridDim.x / p.blocks, of = blockIdx.x / p.blocks;
    unit = static_cast<int>(int64_t{p.units} * of / share);
    end = static_cast<int>(int64_t{p.units} * (of + 1) / share);
  }

  __device__ bool next(const TurnParams& p) {
    if (unit >= end) return false;
    const int tile = unit / p.result_extent[0];
    plane = unit - tile * p.result_extent[0];
    item = tile / p.tiles;
    first_line = (tile - item * p.tiles) * p.lines;
    ++unit;
    return true;
  }

  // The plane of grad_output of a tap of d; without one the tap has no stages.
  __device__ int source_plane(const TurnParams& p, int tap) const {
    return kTurnStride * plane + tap - p.padding[0];
  }
  __device__ bool there(const TurnParams& p, int tap) const {
    return static_cast<unsigned>(source_plane(p, tap)) < static_cast<unsigned>(p.source_extent[0]);
  }
  // The first line of grad_output of a stage; it may lie before the tensor.
  __device__ int first_source(const TurnParams& p) const {
    return kTurnStride * first_line - p.padding[1];
  }
};

// The stages of a block, or parts of them, one after another: `steps` for each tap of d.
struct TurnSteps {
  TurnWalk walk;
  int steps, tap = kTurnKernel, step = 0;

  __device__ TurnSteps(const TurnParams& p, int of_tap) : walk(p), steps(of_tap) {}

  __device__ bool next(const TurnParams& p) {
    if (tap < kTurnKernel && ++step < steps) return true;
    step = 0;
    do {
      if (++tap < kTurnKernel) continue;
      if (!walk.next(p)) return false;
      tap = 0;
    } while (!walk.there(p, tap));
    return true;
  }
};

// Addresses in shared memory. Lanes read some elements behind the last raw line: they are in what
// follows.
struct TurnShared {
  uint32_t slots, weights, raw, rows, places;
  uint32_t full, empty, raw_full, raw_empty, weights_full, weights_empty;

  __device__ TurnShared(const TurnParams& p, int raw_bytes, uint32_t start) {
    slots = (start + kTurnAlign - 1) / kTurnAlign * kTurnAlign;
    weights = slots + p.slots * p.slot_bytes;
    raw = (weights + p.weight_slots * kTurnWeightBytes + kTurnLead - 1) / kTurnLead * kTurnLead;
    places = raw + p.raw_slots * raw_bytes;
    rows = places + kTurnMaxColumns * 4;
    full = rows + 2 * turn_table(p.elements);
    empty = full + 8 * kTurnMaxSlots;
    raw_full = empty + 8 * kTurnMaxSlots;
    raw_empty = raw_full + 8 * kTurnMaxSlots;
    weights_full = raw_empty + 8 * kTurnMaxSlots;
    weights_empty = weights_full + 8 * kTurnMaxWeightSlots;
  }
};

}  // namespace convt3d::cuda::halo_gemm
