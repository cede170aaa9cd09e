// SPDX-License-Identifier: BSD-3-Clause
// A weight (or a bias) to one of more or fewer channels on both sides, from any strides to any:
// channels that there are too few of are zeros, those too many are left out.
#pragma once
#include <cstdint>

#include "cuda/common/divisor.cuh"

namespace convt3d::cuda::padded_channels {

constexpr int kThreads = 256;

struct Weight {
  const void* source;
  void* target;
  int64_t source_stride[5], target_stride[5];  // in, out, kd, kh, kw
  int elements;                                // of the target
  int source_in, source_out;
  Divisor out, kernel[3];
  bool channels_inner;  // neighbouring threads have neighbouring out channels; else taps of w
};

template <typename T>
__global__ void __launch_bounds__(kThreads) weight_kernel(const __grid_constant__ Weight p) {
  int rest = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (rest >= p.elements) return;
  int out = p.channels_inner ? divide(&rest, p.out) : 0;
  int tap[3];
#pragma unroll
  for (int a = 2; a >= 0; --a) tap[a] = divide(&rest, p.kernel[a]);
  if (!p.channels_inner) out = divide(&rest, p.out);
  // What is left is the in channel.
  const T* source =
      static_cast<const T*>(p.source) + rest * p.source_stride[0] + out * p.source_stride[1];
  T* target = static_cast<T*>(p.target) + rest * p.target_stride[0] + out * p.target_stride[1];
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    source += tap[a] * p.source_stride[2 + a];
    target += tap[a] * p.target_stride[2 + a];
  }
  *target = rest < p.source_in && out < p.source_out ? *source : T();
}

}  // namespace convt3d::cuda::padded_channels
