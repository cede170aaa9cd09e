// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launch; instances/ has one explicit instantiation per element type.
#pragma once
#include "cuda/common/launch.h"
#include "cuda/lane_sums/call.h"
#include "cuda/lane_sums/kernel.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::lane_sums {

// Axes are d, h, w in a problem and w, h, d in the kernel.
inline LaneSums describe(const Call& call) {
  const Problem& p = call.description.problem;
  const Operands& own = call.operands;
  const bool weight = call.description.direction == Direction::grad_weight;
  const bool forward = call.description.direction == Direction::forward;
  const int64_t ins = p.in_channels_per_group(), outs = p.out_channels_per_group();
  const TensorView& first = forward ? own.input : own.output;
  const TensorView& second = weight ? own.input : own.weight;
  const TensorView& result = weight ? own.weight : forward ? own.output : own.input;
  const Extent3 output = p.output();

  LaneSums sums{};
  sums.first = first.data;
  sums.second = second.data;
  sums.bias = own.bias;
  sums.result = result.data;
  sums.bias_stride = own.bias_stride;
  sums.units = static_cast<int>(call.config.units);
  sums.lanes = call.config.lanes;
  sums.forward = forward;
  sums.channels = static_cast<int>(forward ? outs : ins);
  sums.by_tiles = make_divisor(ceil_div(int64_t{sums.channels}, int64_t{call.config.tile}));
  int64_t products = weight ? p.batch : forward ? ins : outs;
  for (int axis = 0; axis < 3; ++axis) {
    const int a = 2 - axis;
    const int64_t taps = forward ? ceil_div(p.kernel[a], p.stride[a]) : p.kernel[a];
    const int64_t own_products = weight ? p.input[a] : taps;
    products *= own_products;
    sums.by_product[axis] = make_divisor(own_products);
    sums.by_result[axis] = make_divisor(weight ? p.kernel[a] : forward ? output[a] : p.input[a]);
    const auto stride = static_cast<int>(p.stride[a]), dilation = static_cast<int>(p.dilation[a]);
    sums.by_stride[axis] = make_divisor(stride);
    sums.result_scale[axis] = forward ? 1 : weight ? dilation : stride;
    sums.result_base[axis] = static_cast<int>(forward ? p.padding[a] : -p.padding[a]);
    sums.product_scale[axis] = forward ? -dilation : weight ? stride : dilation;
    sums.first_extent[axis] = static_cast<int>(forward ? p.input[a] : output[a]);
    sums.kernel[axis] = static_cast<int>(p.kernel[a]);
    sums.first_axis[axis] = first.stride[2 + a];
    sums.second_tap[axis] = second.stride[2 + a];
    sums.second_product[axis] = second.stride[2 + a] * (forward ? stride : 1);
    sums.result_digit[axis] = result.stride[2 + a];
  }
  sums.products = static_cast<int>(products);
  sums.by_result[3] = make_divisor(weight ? outs : p.batch);
  sums.first_result = first.stride[weight ? 1 : 0];
  sums.first_product = first.stride[weight ? 0 : 1];
  sums.first_group = (forward ? ins : outs) * first.stride[1];
  sums.second_product[3] = second.stride[weight || forward ? 0 : 1];
  sums.second_channel = second.stride[weight || forward ? 1 : 0];
  sums.second_group = ins * second.stride[weight ? 1 : 0];
  sums.result_digit[3] = result.stride[weight ? 1 : 0];
  sums.result_channel = result.stride[weight ? 0 : 1];
  sums.result_group = sums.channels * sums.result_channel;
  return sums;
}

template <typename T>
void run(const Call& call) {
  const LaneSums sums = describe(call);
  const int64_t threads = call.config.units * call.config.lanes;
  const Grid grid{dim3(static_cast<unsigned>(ceil_div(threads, int64_t{kThreads}))), dim3(kThreads),
                  0, call.stream};
  with_value<1, 2, 4, 8>(call.config.tile, [&]<int kTile>() {
    launch_grid("lane_sums", lane_sums_kernel<T, kTile>, grid, sums);
  });
}

}  // namespace convt3d::cuda::lane_sums
