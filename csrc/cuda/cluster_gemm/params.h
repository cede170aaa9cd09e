// SPDX-License-Identifier: BSD-3-Clause
// The kernel's parameters.
#pragma once
#include <cuda.h>

#include <cstdint>

#include "cuda/cluster_gemm/tuning.h"
#include "cuda/common/divisor.cuh"

namespace convt3d::cuda::cluster_gemm {

// Of an axis of a part (config.h).
struct PartAxis {
  Divisor extent, taps;
  int result_first;       // the result's position of the part's first
  int corner;             // what the part's first position reads, at the walk's first tap
  int shift, shift_step;  // of tap j from there: shift + j * shift_step, 0 to 31
  int first_tap;
};

struct PartParams {
  PartAxis axis[3];
  int positions;
  int units;       // of K: chunks of channels of all taps
  int log_splits;  // blocks that share K; a cluster of more has several tiles
  int first_item;
};

struct Params {
  PartParams part[kMaxParts];
  const void* bias;
  void* result;
  int64_t bias_stride;
  int result_stride[5];
  int result_step[3];  // of the result, from one position of a part to the next
  int read_step[3];    // of the tensor that is read
  int tap_step[3];
  int parts, columns;
  int items, clusters;  // an item is what a cluster has at a time
  int splits, log_splits;
  int chain_units;  // of K, that one chain of sums may hold
  Divisor chunks;   // of channels
  Divisor column_tiles;
  bool whole_stores;  // four columns at a time
  bool line_stores;   // 16 bits: four positions of a column at a time
};

struct Maps {
  CUtensorMap walk[kMaxParts];
  CUtensorMap weight;
};

// Limit: a kernel's parameters.
static_assert(sizeof(Params) + sizeof(Maps) <= 4096);

}  // namespace convt3d::cuda::cluster_gemm
