// SPDX-License-Identifier: BSD-3-Clause
// A box of positions of the input, and the box of grad_output that its taps read.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/access.cuh"
#include "cuda/column_gemm/input_params.h"
#include "cuda/common/shared_memory.cuh"

namespace convt3d::cuda::column_gemm {

inline constexpr int kInputWarps = 8;
inline constexpr int kInputThreads = 32 * kInputWarps;
// The place of a row in its box.
inline constexpr uint32_t kNoRow = ~0u;

struct InputBox {
  int n, first[3];
};

__device__ __forceinline__ InputBox find_input_box(const InputParams& p, int item) {
  InputBox box;
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    box.first[axis] = item % p.tiles[axis] * p.cells[axis];
    item /= p.tiles[axis];
  }
  box.n = item;
  return box;
}

// The box of grad_output that the taps of `box` read; zeros outside.
template <typename T>
__device__ __forceinline__ void load_output_box(const InputParams& p, const InputBox& box,
                                                uint32_t stage) {
  constexpr int kPiece = 16 / sizeof(T), kSize = sizeof(T);
  const int lane = threadIdx.x % 32, outs = p.rows ? p.out_channels : 1;
  const int first_d = box.first[0] * p.stride[0] - p.padding[0];
  const int first_h = box.first[1] * p.stride[1] - p.padding[1];
  const int first = (box.first[2] * p.stride[2] - p.padding[2] - p.first_slack) * outs;
  const int end = p.output_extent[2] * outs;
  const auto* output = static_cast<const T*>(p.output) + box.n * p.output_stride[0];
#pragma unroll 1
  for (int line = threadIdx.x / 32; line < p.lines; line += kInputWarps) {
    const int channel = divide(line, p.channel_divisor);
    const int rest = line - channel * (p.box_lines[0] * p.box_lines[1]);
    const int box_d = divide(rest, p.line_divisor);
    const int d = first_d + box_d, h = first_h + rest - box_d * p.box_lines[1];
    const bool inside = within(d, p.output_extent[0]) && within(h, p.output_extent[1]);
    const T* source = output;
    if (inside) {
      source += channel * p.output_stride[1] + d * p.output_stride[2] + h * p.output_stride[3];
    }
    const uint32_t target = stage + line * p.line_elements * kSize;
    if (p.whole_loads) {
      for (int i = lane * kPiece; i < p.line_elements; i += 32 * kPiece) {
        const bool read = inside && within(first + i, end);
        copy_async<16>(target + i * kSize, read ? source + first + i : output, read ? 16 : 0);
      }
    } else {
#pragma unroll 4
      for (int i = lane; i < p.line_elements; i += 32) {
        const int at = first + i, w = p.rows ? at / outs : at, co = p.rows ? at - w * outs : 0;
        const bool read = inside && within(at, end);
        stage_element(target + i * kSize, source + w * p.output_stride[4] + co * p.output_stride[1],
                      read);
      }
    }
  }
}

// A tap and an out channel. Those of neighbouring columns are neighbours in shared memory: out
// channels side by side (rows), or taps on w.
struct Column {
  int co, d, h, w;
};

__device__ __forceinline__ Column find_column(const InputParams& p, int column, bool rows) {
  const int taps = p.kernel[0] * p.kernel[1] * p.kernel[2];
  const int co = rows ? column % p.out_channels : column / taps;
  const int tap = rows ? column / p.out_channels : column - co * taps;
  const int tap_dh = tap / p.kernel[2], tap_d = tap_dh / p.kernel[1];
  return {co, tap_d, tap_dh - tap_d * p.kernel[1], tap - tap_dh * p.kernel[2]};
}

__device__ __forceinline__ uint32_t column_offset(const InputParams& p, const Column& c) {
  return c.co * p.step_channel + c.d * p.step_d + c.h * p.step_h + c.w * p.step_w;
}

// Two elements of 16 bits, of two addresses in shared memory.
__device__ __forceinline__ uint32_t load_shared_pair(uint32_t first, uint32_t second) {
  unsigned short low, high;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(low) : "r"(first) : "memory");
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(high) : "r"(second) : "memory");
  return __byte_perm(low, high, 0x5410);
}

}  // namespace convt3d::cuda::column_gemm
