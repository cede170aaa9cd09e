// SPDX-License-Identifier: BSD-3-Clause
// What gather_kernel.cuh is given, and the order in which its blocks walk through grad_output.
#pragma once
#include <cstdint>

#include "cuda/halo_gemm/gather_tuning.h"
#include "cuda/halo_gemm/mail.cuh"

namespace convt3d::cuda::halo_gemm {

struct GatherParams {
  const unsigned char* weights;                // [block of channels], see gather_launch.cuh
  const unsigned char* source;                 // grad_output
  void* result;                                // grad_input
  int64_t source_stride[5], result_stride[5];  // n, c, d, h, w
  int channels, sources;                       // of grad_input, of grad_output
  int result_extent[3], source_extent[3], padding[3];
  int lines, tiles, runs;  // of grad_input in a tile, tiles of a plane, and runs of a line
  int pitch, line_bytes;   // of a channel of a stage, and of a line
  int slot_bytes;          // of a stage
  int chunks, slots;       // of a block
  int mail_bytes;          // of all warps (gather_join.cuh)
  int weight_bytes;        // of a block
  int units, blocks;       // planes of all tiles; blocks of channels
  int ranks;               // blocks of a cluster, which share the channels of grad_output
  bool aligned;            // all lines begin on 16 bytes, padding 1 along w (gather_operand.cuh)
  bool pairs;              // positions of grad_input that a lane stores at once are aligned
};

// The stages of a block, in order; the same for all its roles. A unit is a plane of grad_input of a
// tile; units of a tile that follow each other are one march through the planes of grad_output
// u = o + padding = 2 * plane + tap, from 2 * from to 2 * to.
struct GatherWalk {
  int unit, end;         // what is left
  int item, first_line;  // of the march: batch item, and line of grad_input
  int from, to;          // its planes of grad_input

  __device__ explicit GatherWalk(const GatherParams& p) {
    const int together = p.blocks * p.ranks;
    const int share = gridDim.x / together, of = blockIdx.x / together;
    unit = static_cast<int>(int64_t{p.units} * of / share);
    end = static_cast<int>(int64_t{p.units} * (of + 1) / share);
  }

  __device__ bool next(const GatherParams& p) {
    if (unit >= end) return false;
    const int planes = p.result_extent[0], tile = unit / planes;
    from = unit - tile * planes;
    to = min(planes, from + end - unit);
    unit += to - from;
    item = tile / p.tiles;
    first_line = (tile - item * p.tiles) * p.lines;
    return true;
  }

  // The first line of grad_output of a stage; it may lie before the tensor.
  __device__ int first_source(const GatherParams& p) const {
    return kGatherStride * first_line - p.padding[1];
  }
  // Whether plane u lies in grad_output; it has no stages else.
  static __device__ bool there(const GatherParams& p, int u) {
    return static_cast<unsigned>(u - p.padding[0]) < static_cast<unsigned>(p.source_extent[0]);
  }
};

// Addresses in shared memory.
struct GatherShared {
  uint32_t slots, weights;
  uint32_t weights_full, full, empty;
  MailPlaces mail;

  // What is read behind the last stage, of positions that are not stored, are weights.
  __device__ GatherShared(const GatherParams& p, uint32_t start) {
    // Behind what is read of positions below 0.
    slots = (start + kGatherAlign - 1) / kGatherAlign * kGatherAlign + kGatherAlign;
    weights = slots + p.slots * p.slot_bytes;
    mail.sums = weights + p.weight_bytes;
    weights_full = mail.sums + p.mail_bytes;
    full = weights_full + 8;
    empty = full + 8 * kGatherMaxSlots;
    mail.full = empty + 8 * kGatherMaxSlots;
    mail.taken = mail.full + 8 * kGatherConsumers;
  }
};

}  // namespace convt3d::cuda::halo_gemm
