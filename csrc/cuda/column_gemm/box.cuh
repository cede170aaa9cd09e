// SPDX-License-Identifier: BSD-3-Clause
// The box of an item, and its input on the way to shared memory.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/params.h"
#include "cuda/common/shared_memory.cuh"

namespace convt3d::cuda::column_gemm {

struct Box {
  int n, d, h, w;  // cells
  int first_w;     // the first position of its lines; a multiple of eight
};

__device__ __forceinline__ Box find_box(const ForwardParams& p, int item) {
  Box box;
  const int w = item % p.tiles[2];
  item /= p.tiles[2];
  const int h = item % p.tiles[1];
  item /= p.tiles[1];
  box.n = item / p.tiles[0];
  box.d = p.first_cell[0] + item % p.tiles[0] * p.cells[0];
  box.h = p.first_cell[1] + h * p.cells[1];
  box.w = w * p.cells[2];
  box.first_w = max(0, box.w + p.least_shift_w) & ~7;
  return box;
}

// A lane keeps its 16 bytes of a position's channels, or of a channel's line, and walks over
// positions, or channels: `at_once` of them side by side in a warp, of which this lane's is `own`;
// lanes that are left over have at_once.
struct Pieces {
  int own, piece, at_once;
};

template <typename T, bool kRowsOfChannels>
__device__ __forceinline__ Pieces find_pieces(const Params& p) {
  const int pieces = kRowsOfChannels ? 2 * p.steps : p.line_rows / static_cast<int>(16 / sizeof(T));
  const int lane = threadIdx.x % 32, own = lane / pieces;
  return {own, lane - own * pieces, 32 / pieces};
}

// A chunk of the channels of the box to `stage`: lines outside the input and channels beyond the
// last are zeros; what is beyond the end of a line is left as it is, and so are its sums. `lines`:
// each line's place on d and h, 16 bits each.
template <typename T, bool kRowsOfChannels, int kChannelsPerStep>
__device__ __forceinline__ void load_chunk(const Params& p, const Box& box, int chunk,
                                           const uint32_t* lines, const Pieces& pieces,
                                           uint32_t stage) {
  constexpr int kPiece = 16 / sizeof(T);
  const int channels = p.steps * kChannelsPerStep, first_channel = chunk * channels;
  const int there = min(p.line_rows, p.input_extent[2] - box.first_w);
  const int lane = threadIdx.x % 32;
  const auto* input = static_cast<const T*>(p.input) + box.n * p.input_stride[0] +
                      first_channel * p.input_stride[1] + box.first_w * p.input_stride[4];
  const int count = p.box_lines[0] * p.box_lines[1];
  const int own = pieces.own, piece = pieces.piece, at_once = pieces.at_once;
#pragma unroll 1
  for (int line = threadIdx.x / 32; line < count; line += kWarps) {
    const int d = box.d - (p.shifts[0] - 1) + static_cast<int>(lines[line] >> 16);
    const int h = box.h - (p.shifts[1] - 1) + static_cast<int>(lines[line] & 0xffff);
    const bool inside = within(d, p.input_extent[0]) && within(h, p.input_extent[1]);
    const T* source = input;
    if (inside) source += d * p.input_stride[2] + h * p.input_stride[3];
    if constexpr (kRowsOfChannels) {
      const bool read = inside && first_channel + piece * kPiece < p.in_channels;
      const T* from = read ? source + own * p.input_stride[4] + piece * kPiece : input;
      const int64_t step = read ? at_once * p.input_stride[4] : 0;
      uint32_t target = stage + (line * p.line_rows + own) * p.pitch + piece * 16;
#pragma unroll 4
      for (int row = own < at_once ? own : there; row < there; row += at_once) {
        copy_async<16>(target, from, read ? 16 : 0);
        from += step;
        target += at_once * p.pitch;
      }
    } else if (p.whole_loads) {
      const bool read = inside && piece * kPiece < there;
      const int last = min(channels, p.in_channels - first_channel);
      const T* from = read ? source + own * p.input_stride[1] + piece * kPiece : input;
      const int64_t step = read ? at_once * p.input_stride[1] : 0;
      uint32_t target =
          stage + line * p.line_rows * static_cast<int>(sizeof(T)) + own * p.pitch + piece * 16;
#pragma unroll 4
      for (int channel = own < at_once ? own : channels; channel < channels; channel += at_once) {
        const bool there_too = read && channel < last;
        copy_async<16>(target, there_too ? from : input, there_too ? 16 : 0);
        from += step;
        target += at_once * p.pitch;
      }
    } else {
      const uint32_t target = stage + line * p.line_rows * static_cast<int>(sizeof(T));
#pragma unroll 4
      for (int i = lane; i < channels * p.line_rows; i += 32) {
        const int channel = divide(i, p.row_divisor), row = i - channel * p.line_rows;
        if (row >= there) continue;
        const bool read = inside && first_channel + channel < p.in_channels;
        stage_element(target + channel * p.pitch + row * static_cast<int>(sizeof(T)),
                      source + channel * p.input_stride[1] + row * p.input_stride[4], read);
      }
    }
  }
}

}  // namespace convt3d::cuda::column_gemm
