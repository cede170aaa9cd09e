// SPDX-License-Identifier: BSD-3-Clause
// A plane of a box's positions on its way to shared memory.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/box.cuh"
#include "cuda/column_gemm/params.h"
#include "cuda/common/shared_memory.cuh"

namespace convt3d::cuda::column_gemm {

// A thread's part of every chunk: 16 bytes of a position's channels, or of a line of positions, and
// every p.share_step-th position, or channel, from `first` on; threads that are left over have
// none.
struct Share {
  int first, line, piece;
};

template <bool kRowsOfChannels>
__device__ __forceinline__ Share find_share(const MarchParams& p) {
  const int thread = threadIdx.x;
  Share share{};
  if constexpr (kRowsOfChannels) {
    share.first = divide(thread, p.piece_divisor);
    share.piece = thread - share.first * 2 * p.steps;
  } else {
    const int pieces = p.pieces, plane = p.lines * pieces;
    share.first = divide(thread, p.channel_divisor);
    const int rest = thread - share.first * plane;
    share.line = divide(rest, p.piece_divisor);
    share.piece = rest - share.line * pieces;
  }
  if (share.first >= p.share_step) share.first = 1 << 30;
  return share;
}

// A chunk of the channels of plane `d` of the box to `stage`: lines outside the input and channels
// beyond the last are zeros; what is beyond the end of a line is left as it is, and so are its
// sums.
template <typename T, bool kRowsOfChannels, int kChannelsPerStep>
__device__ __forceinline__ void load_plane(const MarchParams& p, const Share& share, const Box& box,
                                           int d, int chunk, uint32_t stage) {
  constexpr int kPiece = 16 / sizeof(T);
  const int channels = p.steps * kChannelsPerStep, first_channel = chunk * channels;
  const int there = min(p.line_rows, p.input_extent[2] - box.first_w);
  const int first_h = box.h - (p.shifts[1] - 1);
  const int last = p.in_channels - first_channel;  // may be less than one, or than `channels`
  const auto* const input = static_cast<const T*>(p.input);
  const T* const source = input + box.n * p.input_stride[0] + first_channel * p.input_stride[1] +
                          d * p.input_stride[2] + first_h * p.input_stride[3] +
                          box.first_w * p.input_stride[4];
  if constexpr (kRowsOfChannels) {
    const int count = p.lines * p.line_rows;
    if (share.first >= count) return;
    // A plane of a channel is less than 2**31 elements from end to end.
    const int stride_h = static_cast<int>(p.input_stride[3]);
    const int stride_w = static_cast<int>(p.input_stride[4]);
    const bool read = share.piece * kPiece < last;
    uint32_t target = stage + share.first * p.pitch + share.piece * 16;
    const uint32_t target_step = p.share_step * p.pitch;
    if (p.whole_planes) {  // lines follow each other, and are whole
      const int begin = max(0, -first_h) * p.line_rows;
      const int length = min(p.lines, p.input_extent[1] - first_h) * p.line_rows - begin;
      int from = share.first * stride_w + share.piece * kPiece;
      const int step = p.share_step * stride_w;
#pragma unroll 4
      for (int row = share.first; row < count; row += p.share_step) {
        const bool inside = read && row - begin < length && row >= begin;
        copy_async<16>(target, inside ? source + from : input, inside ? 16 : 0);
        target += target_step;
        from += step;
      }
    } else {
#pragma unroll 1
      for (int row = share.first; row < count; row += p.share_step, target += target_step) {
        const int line = divide(row, p.row_divisor), position = row - line * p.line_rows;
        if (position >= there) continue;
        const bool inside = read && within(first_h + line, p.input_extent[1]);
        const int from = line * stride_h + position * stride_w + share.piece * kPiece;
        copy_async<16>(target, inside ? source + from : input, inside ? 16 : 0);
      }
    }
  } else if (p.whole_loads) {
    if (share.first >= channels || share.piece * kPiece >= there) return;
    const int end = within(first_h + share.line, p.input_extent[1]) ? last : 0;
    const T* from = source + share.line * p.input_stride[3] + share.piece * kPiece +
                    share.first * p.input_stride[1];
    uint32_t target = stage + share.first * p.pitch + (share.line * p.pieces + share.piece) * 16;
#pragma unroll 4
    for (int channel = share.first; channel < channels; channel += p.share_step) {
      const bool inside = channel < end;
      copy_async<16>(target, inside ? from : input, inside ? 16 : 0);
      target += p.share_step * p.pitch;
      from += p.share_step * p.input_stride[1];
    }
  } else {
    // Limit: more addresses at once do not fit beside float32's sums in 128 registers.
    constexpr int kAtOnce = sizeof(T) == 4 ? 1 : 4;
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
