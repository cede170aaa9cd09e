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

// What forward's residues depend on, and where prepare_kernel writes them.
struct ResidueTables {
  Residue* table[3];  // null in grad_input
  int64_t stride[3], padding[3], dilation[3], kernel[3], output[3];
  int64_t tap_step[3];
};

// The formulas are those of geometry/residue.cpp.
__device__ inline Residue make_residue(const ResidueTables& t, int axis, int64_t residue) {
  const int64_t stride = t.stride[axis], padding = t.padding[axis], dilation = t.dilation[axis];
  Residue entry{};
  entry.first_output = ((residue - padding) % stride + stride) % stride;
  if (entry.first_output < t.output[axis]) {
    entry.num_outputs = (t.output[axis] - 1 - entry.first_output) / stride + 1;
  }
  for (int64_t tap = 0; tap < t.kernel[axis] && tap < t.tap_step[axis]; ++tap) {
    if ((dilation * tap - residue) % stride != 0) continue;
    entry.first_tap = tap;
    entry.num_taps = (t.kernel[axis] - 1 - tap) / t.tap_step[axis] + 1;
    entry.first_input = (entry.first_output + padding - dilation * tap) / stride;
    break;
  }
  return entry;
}

// packed[tap][depth][group][column], columns padded with zeros to packed_columns. Columns are
// out_channels in forward, in_channels in grad_input; depth is the other. The residues of forward
// go along: their divisions would cost every block more than its sums where channels are few.
template <typename T>
__global__ void prepare_kernel(const WeightView weight, Accumulator<T>* packed,
                               bool columns_are_outputs, int64_t packed_columns,
                               const __grid_constant__ ResidueTables residues) {
  const int64_t columns = columns_are_outputs ? weight.out_channels : weight.in_channels;
  const int64_t depth = columns_are_outputs ? weight.in_channels : weight.out_channels;
  const int64_t thread = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  const int64_t num_threads = int64_t(gridDim.x) * blockDim.x;
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    if (residues.table[axis] == nullptr) continue;
    for (int64_t r = thread; r < residues.stride[axis]; r += num_threads) {
      residues.table[axis][r] = make_residue(residues, axis, r);
    }
  }
  const int64_t total = weight.kernel[0] * weight.kernel[1] * weight.kernel[2] * depth *
                        weight.groups * packed_columns;
  for (int64_t i = thread; i < total; i += num_threads) {
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
    double sum = 0;  // also in fp32, where this leaves one rounding
#pragma unroll 8
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
        narrow<T>(static_cast<Accumulator<T>>(sum));
  }
}

}  // namespace convt3d::cuda::direct
