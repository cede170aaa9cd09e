// SPDX-License-Identifier: BSD-3-Clause
// What walk_kernel.cuh is told: one call in numbers.
#pragma once
#include <cuda.h>

#include "cuda/common/divisor.cuh"
#include "cuda/halo_weight/params.h"
#include "cuda/halo_weight/walk_tuning.h"

namespace convt3d::cuda::halo_weight {

struct WalkParams {
  Work work;  // boxes: of the largest class
  Target target;
  int chain, out_width;
  // Of jobs that blocks have whole, those of a tap follow each other: parts of out_channels.
  int job_parts;
  bool takes_turns;  // blocks that share a job
  int stride[3];
  struct OfClass {
    Divisor extent[3];
    int first[3], corner[3];
    int boxes;
  } of_class[kMaxClasses];
  struct OfTap {
    uint16_t tap;
    uint8_t of_class, shift[3];
  } tap[kMaxTaps];
};

struct WalkMaps {
  CUtensorMap input[kMaxClasses], output[kMaxClasses];
};

// Limit: a kernel's parameters.
static_assert(sizeof(WalkParams) + sizeof(WalkMaps) <= 32764);

}  // namespace convt3d::cuda::halo_weight
