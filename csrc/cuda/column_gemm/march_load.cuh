// SPDX-License-Identifier: BSD-3-Clause
// A plane of a box's positions on its way to shared memory.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/box.cuh"
#include "cuda/column_gemm/params.h"
#include "cuda/common/shared_memory.cuh"

namespace convt3d::cuda::column_gemm {

// A chunk of the channels of plane `d` of the box to `stage`: lines outside the input and channels
// beyond the last are zeros; what is beyond the end of a line is left as it is, and so are its
// sums.
template <typename T, bool kRowsOfChannels, int kChannelsPerStep>
__device__ __forceinline__ void load_plane(const MarchParams& p, const Box& box, int d, int chunk,
                                           uint32_t stage) {
  constexpr int kPiece = 16 / sizeof(T);
  const int channels = p.steps * kChannelsPerStep, first_channel = chunk * channels;
  const int there = min(p.line_rows, p.input_extent[2] - box.first_w);
  const int first_h = box.h - (p.shifts[1] - 1);
  const int last = p.in_channels - first_channel;  // may be less than one, or than `channels`
  const auto* const input = static_cast<const T*>(p.input);
  const T* const source = input + box.n * p.input_stride[0] + first_channel * p.input_stride[1] +
                          d * p.input_stride[2] + first_h * p.input_stride[3] +
                          box.first_w * p.input_stride[4];
  // Limit: more addresses of planes at once do not fit beside float32's sums in 128 registers.
  constexpr int kAtOnce = sizeof(T) == 4 ? 1 : 4;
  // Whole loads: a plane of a channel is less than 2**31 elements from end to end.
  const int stride_h = static_cast<int>(p.input_stride[3]);
  if constexpr (kRowsOfChannels) {
    const int stride_w = static_cast<int>(p.input_stride[4]);
    const int pieces = 2 * p.steps, count = p.lines * p.line_rows * pieces;
#pragma unroll 4
    for (int i = threadIdx.x; i < count; i += kThreads) {
      const int row = divide(i, p.piece_divisor), piece = i - row * pieces;
      const int line = divide(row, p.row_divisor), position = row - line * p.line_rows;
      if (position >= there) continue;
      const bool read = within(first_h + line, p.input_extent[1]) && piece * kPiece < last;
      const int from = line * stride_h + position * stride_w + piece * kPiece;
      copy_async<16>(stage + row * p.pitch + piece * 16, read ? source + from : input,
                     read ? 16 : 0);
    }
  } else if (p.whole_loads) {
    const int pieces = p.line_rows / kPiece, plane = p.lines * pieces;
#pragma unroll kAtOnce
    for (int i = threadIdx.x; i < channels * plane; i += kThreads) {
      const int channel = divide(i, p.channel_divisor), rest = i - channel * plane;
      const int line = divide(rest, p.piece_divisor), piece = rest - line * pieces;
      if (piece * kPiece >= there) continue;
      const bool read = within(first_h + line, p.input_extent[1]) && channel < last;
      const T* from = source + channel * p.input_stride[1] + (line * stride_h + piece * kPiece);
      copy_async<16>(stage + channel * p.pitch + rest * 16, read ? from : input, read ? 16 : 0);
    }
  } else {
    const int plane = p.lines * p.line_rows;
#pragma unroll kAtOnce
    for (int i = threadIdx.x; i < channels * plane; i += kThreads) {
      const int channel = divide(i, p.channel_divisor), row = i - channel * plane;
      const int line = divide(row, p.row_divisor), position = row - line * p.line_rows;
      if (position >= there) continue;
      const bool read = within(first_h + line, p.input_extent[1]) && channel < last;
      const T* from = source + line * p.input_stride[3] + channel * p.input_stride[1] +
                      position * p.input_stride[4];
      stage_element(stage + channel * p.pitch + row * static_cast<int>(sizeof(T)),
                    read ? from : input, read);
    }
  }
}

}  // namespace convt3d::cuda::column_gemm
