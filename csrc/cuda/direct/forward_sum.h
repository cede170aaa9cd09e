// SPDX-License-Identifier: BSD-3-Clause
// What forward's kernels know of a call, where an output has few taps: strides in elements, of
// batch, channel, d, h, w; weight's of in, out, d, h, w.
#pragma once
#include <cstdint>

namespace convt3d::cuda::direct {

struct ForwardSum {
  const void* source;
  const void* weight;
  const void* bias;
  void* result;
  int64_t bias_stride;
  int64_t source_stride[5], weight_stride[5], result_stride[5];
  int source_extent[3], result_extent[3], kernel[3], scale[3], padding[3];
  int batch, ins, outs, channels;  // ins, outs: of a group; channels: all out channels
};

}  // namespace convt3d::cuda::direct
