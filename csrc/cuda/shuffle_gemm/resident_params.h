// SPDX-License-Identifier: BSD-3-Clause
// What resident_kernel is told, and where it has what in shared memory.
#pragma once
#include <cuda.h>

#include <cstdint>

#include "cuda/shuffle_gemm/params.h"
#include "cuda/shuffle_gemm/resident_tuning.h"

namespace convt3d::cuda::shuffle_gemm {

struct ResidentParams {
  CUtensorMap source;  // {channel, position}, or {position, channel, n}
  CUtensorMap weight;  // {column, in_channel}; where not filled
  const void* weight_data;
  const void* bias;  // may be null
  void* result;
  int64_t bias_stride;
  int64_t weight_channel, weight_column;  // elements from one to the next
  bool fills;                             // the warpgroups bring the weight
  bool packs;                             // the launch before this one writes the input

  int depth, columns;   // in_channels, out_channels x taps
  int image;            // positions of an image
  Divider image_tiles;  // tiles of an image
  int tiles, slices, walkers;
  int strips, groups, width;
  int chunks, slots, warpgroups;
  int access;                           // bytes of a store
  int row_pitch, group_pitch;           // bytes of staged sums
  int staging_bytes;                    // of a warpgroup
  Divider group_accesses, group_width;  // accesses of a group; its columns

  // A position is (n, d, h, w), of the output's lines.
  Divider volume, plane, line;
  int64_t result_position[4];

  // A column is (channel, tap), or (tap, channel).
  bool taps_inner;
  int out_channels, kernel[3];
  int64_t result_stride[5];  // n, c, d, h, w
};

// Shared addresses: weights and input (swizzled: multiples of 1024), of each warpgroup staging and
// where its rows go, where groups of columns go, bias, barriers. Each warpgroup has `slots` of its
// own for input.
struct ResidentStages {
  uint32_t weight, source, staging, rows, groups, bias, full, empty, weight_full;

  __device__ ResidentStages(const ResidentParams& p, uint32_t base) : weight(base) {
    source = weight + p.strips * p.chunks * kResidentBytes;
    staging = source + p.warpgroups * p.slots * kResidentBytes;
    rows = staging + p.warpgroups * p.staging_bytes;
    groups = rows + p.warpgroups * kResidentRows * 8;
    full = groups + p.strips * (p.groups + 1) * 8;
    empty = full + 8 * p.warpgroups * p.slots;
    weight_full = empty + 8 * p.warpgroups * p.slots;
    bias = weight_full + 8 * p.strips * p.chunks;
  }
};

}  // namespace convt3d::cuda::shuffle_gemm
