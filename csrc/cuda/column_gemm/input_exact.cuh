// SPDX-License-Identifier: BSD-3-Clause
// One result of grad_input in plain float32, for those that split products may have spoilt.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/input_box.cuh"

namespace convt3d::cuda::column_gemm {

__device__ __noinline__ inline float exact_input(const InputParams& p, int n, int ci, int d, int h,
                                                 int w) {
  const auto* output = static_cast<const float*>(p.output) + n * p.output_stride[0];
  const auto* weight = static_cast<const float*>(p.weight) + ci * p.weight_stride[0];
  float sum = 0;
  for (int column = 0; column < p.columns; ++column) {
    const Column c = find_column(p, column, false);
    const int o[3] = {d * p.stride[0] + c.d - p.padding[0], h * p.stride[1] + c.h - p.padding[1],
                      w * p.stride[2] + c.w - p.padding[2]};
    if (!within(o[0], p.output_extent[0]) || !within(o[1], p.output_extent[1]) ||
        !within(o[2], p.output_extent[2])) {
      continue;
    }
    sum += output[c.co * p.output_stride[1] + o[0] * p.output_stride[2] +
                  o[1] * p.output_stride[3] + o[2] * p.output_stride[4]] *
           weight[c.co * p.weight_stride[1] + c.d * p.weight_stride[2] + c.h * p.weight_stride[3] +
                  c.w * p.weight_stride[4]];
  }
  return sum;
}

}  // namespace convt3d::cuda::column_gemm
