// SPDX-License-Identifier: BSD-3-Clause
// What patch_kernel is told, and where it has what in shared memory.
//
// NCDHW: a chunk is `chunk_channels` channels of grad_output, of each image of the tile in pieces
// that are contiguous in memory and lie `piece_pitch` bytes apart in shared memory:
//
//   box                       a piece is                     pieces of a channel
//   part of a line            a line's part                  kd * kh
//   lines of a plane          their outputs in one plane     kd
//   whole planes, images      all of their outputs           1
#pragma once
#include <cuda.h>

#include <cstdint>

#include "cuda/shuffle_gemm/patch_tuning.h"

namespace convt3d::cuda::shuffle_gemm {

struct PatchParams {
  CUtensorMap gradient[kPatchMaxLines];  // NDHWC: of each (td, th), {tw x co, w, h, d, n}
  CUtensorMap weight;                    // {K of a line, line, in_channel}
  void* result;
  int64_t result_stride[4];  // from one position to the next in n, d, h, w
  int64_t channel_stride;
  int columns;                        // in_channels
  int extent[4], box[4], boxes[4];    // n, d, h, w; boxes: along each axis
  int tiles, slices, walkers, splits;
  int chunks, line_chunks, lines;
  int stages;
  int source_bytes, box_bytes;  // of a stage; NDHWC: of a copy
  bool resident;

  // NCDHW
  const void* source;
  int64_t source_stride[4];    // n, c, d, h
  int64_t source_position[4];  // from one position to the next in n, d, h, w
  int chunk_channels, taps, kernel_h, kernel_w;
  int pieces_inner, pieces_h;  // of a channel; of those neighbours in h
  int piece_axis, piece_step;  // it grows by so many bytes with each position of that axis
  int piece_pitch;
  int stage_position[4], stage_tap[3];  // bytes: n, d, h, w; channel, td, th
  bool joins_pairs;                     // two neighbouring positions are stored at once
};

// Shared addresses: weights (swizzled: multiples of 1024), source, barriers.
struct PatchStages {
  uint32_t weight, source, full, empty;

  __device__ PatchStages(const PatchParams& p, uint32_t base, int columns) : weight(base) {
    const int own_chunks = (p.chunks + p.splits - 1) / p.splits;
    source = weight + (p.resident ? own_chunks : p.stages) * columns * kPatchChunk;
    full = source + p.stages * p.source_bytes;
    empty = full + 8 * p.stages;
  }
};

}  // namespace convt3d::cuda::shuffle_gemm
