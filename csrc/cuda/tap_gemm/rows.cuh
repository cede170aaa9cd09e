// SPDX-License-Identifier: BSD-3-Clause
// Which out_channel and tap a row stands for.
//
//   rows of a group of taps:  [out_channels / width][taps][width]
#pragma once
#include "cuda/tap_gemm/params.h"

namespace convt3d::cuda::tap_gemm {

struct PairOfRow {
  int channel;   // out_channel, in its group
  int local[3];  // tap, of the block's
  int tap[3];    // of the kernel's

  __device__ __forceinline__ PairOfRow(const Params& p, int tap_group, int row) {
    int rest = row / p.width;
    channel = row - rest * p.width;
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      local[axis] = rest % p.taps[axis];
      rest /= p.taps[axis];
      tap[axis] = tap_group % p.tap_groups[axis] * p.taps[axis] + local[axis];
      tap_group /= p.tap_groups[axis];
    }
    channel += rest * p.width;
  }
  __device__ __forceinline__ bool is_there(const Params& p) const {
    return channel < p.out_channels && tap[0] < p.kernel[0] && tap[1] < p.kernel[1] &&
           tap[2] < p.kernel[2];
  }
  __device__ __forceinline__ int64_t result_offset(const Params& p) const {
    return channel * p.result.stride[1] + tap[0] * p.result.stride[2] +
           tap[1] * p.result.stride[3] + tap[2] * p.result.stride[4];
  }
};

}  // namespace convt3d::cuda::tap_gemm
