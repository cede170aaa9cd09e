// SPDX-License-Identifier: BSD-3-Clause
// Gradients of depthwise layers with kernel 3 and stride 2 in NCDHW, 16 bits: the planes of
// grad_output that a block marches through, as march_kernel and march_weight_kernel read them.
//
//      ring of three: | in use | next | next but one |
//
// A plane of a channel, or some rows of it, is one piece of memory: it is copied as it lies. A
// row's elements may start on half a word: words are loaded, and shifted into place.
//
// march_fits() guarantees: planes within shared memory, 32-bit coordinates. The launch sees that
// rows of grad_output follow each other. Other strides in memory are 64-bit.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/few_channels/march_config.h"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/vector.cuh"

namespace convt3d::cuda::few_channels {

// Axes are {d, h, w}.
struct MarchSums {
  const void* output;  // grad_output
  const void* weight;
  void* input;               // the result, or grad_weight's operand
  float* parts;              // grad_weight: [split][in_channels][27]
  const char* output_end;    // behind its last byte
  int64_t output_stride[3];  // n, c, d
  int64_t weight_stride[5], input_stride[5];
  int input_extent[3], output_extent[3], padding[3];
  int lanes, groups_of_lanes, depth;  // of a block
  int plane_bytes;
  bool pairs;                         // two results on w are one aligned word
  int64_t row_stride, column_stride;  // NDHWC: of grad_output on h and w
  int channels, positions, splits;    // NDHWC: of the result
  Divisor by_lanes, by_tiles, by_chunks_d, by_groups, by_cells[2];
};

inline constexpr int kMarchRows = 2 * kMarchCellsH + 1, kMarchColumns = 2 * kMarchCellsW + 1;
using MarchRow = float[kMarchColumns];  // of a plane, what a thread reads

template <typename T>
__device__ __forceinline__ float widen_half(unsigned word, int half) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __uint_as_float(half == 0 ? word << 16 : word & 0xffff0000u);
  } else {
    const auto bits = static_cast<unsigned short>(half == 0 ? word : word >> 16);
    return widen(__ushort_as_half(bits));
  }
}

// What a block sees of its channel of grad_output.
struct MarchPlanes {
  const MarchSums& p;
  unsigned char* memory;
  int first_d, end_d;  // planes of the result
  int first_row;       // of grad_output
  int window;          // bytes of a plane; none where it is not positive
  const char* source;

  __device__ MarchPlanes(const MarchSums& sums, unsigned char* shared, int n, int group, int chunk,
                         int first_h)
      : p(sums), memory(shared) {
    first_d = chunk * p.depth;
    end_d = min(first_d + p.depth, p.input_extent[0]);
    const int top = 2 * first_h - p.padding[1], rows = 2 * kMarchCellsH * p.groups_of_lanes + 1;
    first_row = max(top, 0);
    window = (min(top + rows, p.output_extent[1]) - first_row) * p.output_extent[2] * 2;
    source =
        static_cast<const char*>(p.output) + (n * p.output_stride[0] + group * p.output_stride[1] +
                                              int64_t{first_row} * p.output_extent[2]) *
                                                 2;
    if (threadIdx.x < kMarchZeros / 4) reinterpret_cast<unsigned*>(memory)[threadIdx.x] = 0;
  }
  // Planes are numbered from that of the first plane's tap 0 on.
  __device__ __forceinline__ bool has(int number) const {
    return within(2 * first_d - p.padding[0] + number, p.output_extent[0]) && window > 0 &&
           number <= 2 * (end_d - first_d);
  }
  __device__ __forceinline__ const char* address(int number) const {
    return source + (2 * first_d - p.padding[0] + number) * p.output_stride[2] * 2;
  }
  // A plane's bytes lie behind the first 16 of its place, as far from 16 bytes as in memory.
  __device__ __forceinline__ int place(int number) const {
    return kMarchZeros + number % kMarchPlanes * p.plane_bytes + 16;
  }
  __device__ __forceinline__ void start(int number) const {
    if (has(number)) {
      const char* const from = address(number);
      const int before = static_cast<int>(reinterpret_cast<uintptr_t>(from) % 16);
      const uint32_t to = shared_address(memory) + place(number);
      for (int at = threadIdx.x * 16; at < before + window; at += kMarchThreads * 16) {
        const char* const piece = from - before + at;
        const int64_t left = p.output_end - piece;
        copy_async<16>(to + at, piece, left < 16 ? static_cast<int>(left) : 16);
      }
    }
    copies_commit();
  }
  // Plane `number` has arrived for all, and its predecessor, whose place is free, has been read.
  // Where it is in shared memory; negative: there is none.
  __device__ __forceinline__ int next(int number) const {
    copies_wait<1>();
    __syncthreads();
    start(number + 2);
    if (!has(number)) return -1;
    return place(number) + static_cast<int>(reinterpret_cast<uintptr_t>(address(number)) % 16);
  }
};

// A thread's cells, and the elements of a plane that they read.
struct MarchCells {
  bool active;
  int h, w;                   // the first cell
  int offset, row_bytes;      // of the first element in the block's window; of a row
  int rows_before, rows_end;  // of the thread's nine rows, those with the numbers [rows_before,
                              // rows_end) are in grad_output
  unsigned mask[3];           // of its elements on w, two in a word

  __device__ MarchCells(const MarchSums& p, const MarchPlanes& planes, int first_h) {
    int rest = threadIdx.x;
    w = divide(&rest, p.by_lanes) * kMarchCellsW;
    h = first_h + rest * kMarchCellsH;
    active = rest < p.groups_of_lanes;
    row_bytes = p.output_extent[2] * 2;
    offset = (2 * h - p.padding[1] - planes.first_row) * row_bytes + (2 * w - p.padding[2]) * 2;
    rows_before = active ? max(0, p.padding[1] - 2 * h) : kMarchRows;
    rows_end = p.output_extent[1] + p.padding[1] - 2 * h;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const int first = 2 * w - p.padding[2] + 2 * i;
      mask[i] = (within(first, p.output_extent[2]) ? 0xffffu : 0u) |
                (within(first + 1, p.output_extent[2]) ? 0xffff0000u : 0u);
    }
  }
  // A row of a plane that begins at `plane`. Zeros stand for what is outside.
  template <typename T>
  __device__ __forceinline__ void read(const unsigned char* memory, int plane, int row,
                                       MarchRow& x) const {
    const bool inside = row >= rows_before && row < rows_end;
    const int from = inside ? plane + offset + row * row_bytes : 0;
    const auto* const words = reinterpret_cast<const unsigned*>(memory + (from & ~3));
    const unsigned first = words[0], second = words[1], third = words[2];
    const int shift = (from & 2) * 8;
    const unsigned pair[3] = {__funnelshift_r(first, second, shift) & mask[0],
                              __funnelshift_r(second, third, shift) & mask[1],
                              (third >> shift) & mask[2]};
#pragma unroll
    for (int i = 0; i < kMarchColumns; ++i) x[i] = widen_half<T>(pair[i / 2], i % 2);
  }
  // body(h, tap, x): row x of the plane is what row h of the cells reads with that tap of h.
  template <typename T, typename Body>
  __device__ __forceinline__ void for_each_row(const unsigned char* memory, int plane,
                                               const Body& body) const {
#pragma unroll
    for (int row = 0; row < kMarchRows; ++row) {
      MarchRow x;
      read<T>(memory, plane, row, x);
#pragma unroll
      for (int h = 0; h < kMarchCellsH; ++h) {
        const int tap = row - 2 * h;
        if (tap >= 0 && tap <= 2) body(h, tap, x);
      }
    }
  }
};

}  // namespace convt3d::cuda::few_channels
