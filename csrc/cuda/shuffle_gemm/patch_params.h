// SPDX-License-Identifier: BSD-3-Clause
// What patch_kernel is told, and where it has what in shared memory.
#pragma once
#include <cuda.h>

#include <cstdint>

#include "cuda/shuffle_gemm/params.h"
#include "cuda/shuffle_gemm/patch_tuning.h"

namespace convt3d::cuda::shuffle_gemm {

// Forward, how a thread stores two neighbouring columns of two positions: each position's; both at
// once, where they are neighbours; or, with the next lane's, four columns of one of them.
enum class PatchStore { pairs, positions, fours };

struct PatchParams {
  // grad_output. NDHWC: of each (td, th), {tw x co, w, h, d, n}. NCDHW: the first, {ow, oh, od, co,
  // n}, or its inner two or three axes merged.
  CUtensorMap gradient[kPatchMaxLines];
  CUtensorMap weight;  // {K of a line, line, in_channel, part}
  void* result;
  int64_t result_stride[4];  // from one position to the next in n, d, h, w
  int64_t channel_stride;
  int columns;       // in_channels
  int extent[4];     // n, d, h, w
  Divider box[4];    // positions of a box
  Divider boxes[4];  // along each axis
  Divider slices, splits, line_chunks;
  int tiles, walkers;
  int chunks, own_chunks, maps;  // own: at most, of a block
  int stages;
  int sum_bytes;  // of a cluster's sums that a block adds up
  int box_bytes;  // of a copy of grad_output
  bool resident;
  bool packs;  // the launch before this one writes the weight

  // float32, of sums that are computed again: grad_output and the dense weight; elements of the
  // former from one position to the next in n, d, h, w; K: of three axes steps and the elements
  // from one to the next, and the run of each.
  const void* gradient_data;
  const void* weight_data;
  int64_t weight_column, weight_depth;  // elements of it from one column, one of K, to the next
  int64_t gradient_stride[4];
  int64_t depth_stride[3];
  int depth_steps[3], depth_run;

  // Forward: columns are pairs of out_channel and tap, (channel, tap) or (tap, channel).
  const void* bias;  // may be null
  int64_t bias_stride;
  int64_t column_stride[4];  // of the output: c, d, h, w
  int out_channels, kernel[3];
  bool taps_inner;
  PatchStore store;

  // NCDHW
  int merged;       // axes that are one with w in the map
  int box_step[3];  // outputs from one position to the next in d, h, w
  int chunk_channels;
  Divider taps, kernel_h, kernel_w;
  int stage_position[4];  // bytes from one position to the next in n, d, h, w
  int stage_tap[3];       // bytes from one channel, td, th to the next
  int second_start;       // two lines as one: where the second's box starts; else 0
  int second_box;         // bytes from the first's box to it
  bool joins_eights;      // eight rows are 16 bytes of the result
  bool joins_words;       // the words of two neighbouring positions are neighbours
  bool joins_pairs;       // two neighbouring positions are stored at once
};

// Shared addresses: weights (swizzled: multiples of 1024), source, staging (of store_staged), a
// cluster's sums, barriers; forward: where columns go, 8 bytes each, and their bias, 4.
struct PatchStages {
  uint32_t weight, source, staging, sums, sums_full, full, empty, places, bias;

  __device__ PatchStages(const PatchParams& p, uint32_t base, int weight_bytes, int columns)
      : weight(base) {
    source = weight + (p.resident ? p.own_chunks : p.stages) * weight_bytes;
    staging = source + p.stages * kPatchSourceBytes;
    sums = staging + (p.joins_eights ? kPatchStagingBytes : 0);
    sums_full = sums + p.sum_bytes;
    full = sums_full + 8;
    empty = full + 8 * p.stages;
    places = empty + 8 * p.stages;
    bias = places + 8 * columns;
  }
};

}  // namespace convt3d::cuda::shuffle_gemm
