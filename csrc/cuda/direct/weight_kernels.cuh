// SPDX-License-Identifier: BSD-3-Clause
// The passes over the weight alone: into the packed form that the GEMM reads, and from the partial
// sums of grad_weight to the result. Both are small beside the GEMM, and any strides will do.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/direct/gather_gemm.cuh"

namespace convt3d::cuda::direct {

// weight: [in_channels, out_channels / groups, kd, kh, kw], with these strides.
struct WeightView {
  void* data;
  int64_t stride[5];
  int64_t kernel[3];
  int64_t groups, in_channels, out_channels;  // of one group
};

// packed[tap][depth][group][column], columns padded with zeros to packed_columns. Columns are
// out_channels in forward, in_channels in grad_input; depth is the other.
template <typename T>
__global__ void pack_kernel(const WeightView weight, Accumulator<T>* packed,
                            bool columns_are_outputs, int64_t packed_columns) {
  const int64_t columns = columns_are_outputs ? weight.out_channels : weight.in_channels;
  const int64_t depth = columns_are_outputs ? weight.in_channels : weight.out_channels;
  const int64_t total = weight.kernel[0] * weight.kernel[1] * weight.kernel[2] * depth *
                        weight.groups * packed_columns;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < total;
       i += int64_t(gridDim.x) * blockDim.x) {
    int64_t rest = i;
    const int64_t column = divide(&rest, packed_columns);
    const int64_t group = divide(&rest, weight.groups);
    const int64_t k = divide(&rest, depth);
    const int64_t w = divide(&rest, weight.kernel[2]);
    const int64_t h = divide(&rest, weight.kernel[1]);
    const int64_t in = group * weight.in_channels + (columns_are_outputs ? k : column);
    const int64_t out = columns_are_outputs ? column : k;
    Accumulator<T> value = 0;
    if (column < columns) {
      value = widen(static_cast<const T*>(
          weight.data)[in * weight.stride[0] + out * weight.stride[1] + rest * weight.stride[2] +
                       h * weight.stride[3] + w * weight.stride[4]]);
    }
    packed[i] = value;
  }
}

// partial[split][group][tap][out_channel][in_channel], added in order of split.
template <typename T>
__global__ void reduce_kernel(const WeightView weight, const Accumulator<T>* partial,
                              int64_t splits) {
  const int64_t total = weight.kernel[0] * weight.kernel[1] * weight.kernel[2] * weight.groups *
                        weight.in_channels * weight.out_channels;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < total;
       i += int64_t(gridDim.x) * blockDim.x) {
    Accumulator<T> sum = 0;
    for (int64_t split = 0; split < splits; ++split) sum += partial[split * total + i];
    int64_t rest = i;
    const int64_t in = divide(&rest, weight.in_channels);
    const int64_t out = divide(&rest, weight.out_channels);
    const int64_t w = divide(&rest, weight.kernel[2]);
    const int64_t h = divide(&rest, weight.kernel[1]);
    const int64_t d = divide(&rest, weight.kernel[0]);
    static_cast<T*>(
        weight.data)[(rest * weight.in_channels + in) * weight.stride[0] + out * weight.stride[1] +
                     d * weight.stride[2] + h * weight.stride[3] + w * weight.stride[4]] =
        narrow<T>(sum);
  }
}

}  // namespace convt3d::cuda::direct
