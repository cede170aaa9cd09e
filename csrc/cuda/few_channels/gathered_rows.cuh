// SPDX-License-Identifier: BSD-3-Clause
// The gathered operand of the gradients of very many taps, as both kernels stage it: rows are
// positions of the input, and a column is a tap of an out channel.
//
//   X[(n, i)][(co, t)] = grad_output[n, co, s*i + d*t - p], 0 where there is none
//
// A row knows which taps hit grad_output, as a least and a most tap on each axis. The three numbers
// of a tap lie in fields of one word, each with a bit to spare on top: it survives a subtraction
// that did not borrow.
#pragma once
#include <cstdint>
#include <type_traits>

#include "cuda/common/doubtful.cuh"
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/tf32_split.cuh"
#include "cuda/few_channels/gathered_config.h"
#include "cuda/few_channels/problem.cuh"

namespace convt3d::cuda::few_channels {

// Axes are {d, h, w}. `result`: input or weight.
struct GatheredSums {
  const void* output;  // grad_output
  const void* other;   // the other operand
  void* result;
  float* parts;             // [splits][in channels][positions], or null where there is one split
  int64_t output_bytes[5];  // strides in bytes
  int64_t input_stride[5], weight_stride[5];
  int output_extent[3], kernel[3], scale[3], padding[3], dilation[3];
  int ins, outs;   // channels of a group
  int depth;       // taps of all out channels of a group
  int positions;   // of all images
  int channels;    // in channels of all groups
  int own_chunks;  // grad_input: chunks of depth of a split
  int splits;
  Divisor by_kernel[3], by_extent[3], by_in_tiles, by_groups, by_splits, by_positions;
};

// A tap's fields, and the spare bit of each.
inline constexpr int kTapBits = 10;
inline constexpr uint32_t kSpareBits =
    1u << (kTapBits - 1) | 1u << (2 * kTapBits - 1) | 1u << (3 * kTapBits - 1);
static_assert(kMaxAxisTaps < 1 << (kTapBits - 1));

struct alignas(16) TapRow {
  uint32_t least, most;  // `most` with the spare bits
  int64_t source;        // bytes to tap 0
};

struct TapColumn {
  uint32_t taps;   // with the spare bits; kNoTap: no column
  int64_t source;  // bytes
  int64_t weight;
};
inline constexpr uint32_t kNoTap = ~0u;  // beyond every `most`

// `input`: where the position's channel 0 is.
__device__ __forceinline__ TapRow find_row(const GatheredSums& p, int position, int64_t* input) {
  TapRow row{};
  *input = 0;
  bool hit = position < p.positions;
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    const int own = divide(&position, p.by_extent[axis]);
    const int origin = own * p.scale[axis] - p.padding[axis];
    const int room = p.output_extent[axis] - 1 - origin, dilation = p.dilation[axis];
    const int least = origin < 0 ? (dilation - 1 - origin) / dilation : 0;
    const int most = room < 0 ? -1 : min(room / dilation, p.kernel[axis] - 1);
    hit &= least <= most;
    row.least |= static_cast<uint32_t>(least) << (axis * kTapBits);
    row.most |= static_cast<uint32_t>(max(most, 0)) << (axis * kTapBits);
    row.source += origin * p.output_bytes[2 + axis];
    *input += own * p.input_stride[2 + axis];
  }
  row.most |= kSpareBits;
  if (!hit) {  // no tap survives: 0 is too small, all others are too large
    row.least = 1;
    row.most = kSpareBits;
  }
  row.source += position * p.output_bytes[0];
  *input += position * p.input_stride[0];
  return row;
}

__device__ __forceinline__ TapColumn find_column(const GatheredSums& p, int at) {
  TapColumn column{};
  if (at >= p.depth) return {kNoTap, 0, 0};
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    const int tap = divide(&at, p.by_kernel[axis]);
    column.taps |= static_cast<uint32_t>(tap) << (axis * kTapBits);
    column.source += tap * p.dilation[axis] * p.output_bytes[2 + axis];
    column.weight += tap * p.weight_stride[2 + axis];
  }
  column.taps |= kSpareBits;
  column.source += at * p.output_bytes[1];
  column.weight += at * p.weight_stride[1];
  return column;
}

__device__ __forceinline__ bool hits(const TapRow& row, const TapColumn& column) {
  const uint32_t up_to = row.most - (column.taps & ~kSpareBits), from = column.taps - row.least;
  return (up_to & from & kSpareBits) == kSpareBits;
}

// Bits of an element in memory; 0 where it is not `there`.
template <typename T>
using Bits = std::conditional_t<sizeof(T) == 2, unsigned short, unsigned>;
template <typename T>
__device__ __forceinline__ Bits<T> load_bits(const void* element, bool there) {
  return there ? *reinterpret_cast<const Bits<T>*>(element) : Bits<T>{0};
}

// The product of a chunk of kTapChunk bytes of depth: of 16 rows of `x` by kPairs times 16 rows of
// `y`, of which `pairs` are wanted. Tensor cores truncate as they add, so the sums of a chunk, in
// float32 of 8 products each, start from zero, the small ones first, and are added with rounding.
template <typename T, int kPairs>
__device__ __forceinline__ void multiply_chunk(uint32_t x_rows, uint32_t y_rows, int pairs,
                                               float (&sums)[kPairs][2][4]) {
  const int lane = threadIdx.x % 32;
  const uint32_t x_own = x_rows + lane % 16 * kTapPitch + lane / 16 * 16;
  const uint32_t y_own = y_rows + (lane % 8 + lane / 16 * 8) * kTapPitch + lane / 8 % 2 * 16;
  constexpr bool kSplit = sizeof(T) == 4;
  float of_chunk[kPairs][2][4] = {};
#pragma unroll
  for (int at = 0; at < kTapChunk; at += 32) {
    uint32_t x[4], high[4], low[4];
    load_matrices(x, x_own + at);
    if constexpr (kSplit) split_operand(x, high, low);
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      if (pair >= pairs) break;
      uint32_t y[4];
      load_matrices(y, y_own + pair * 16 * kTapPitch + at);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const uint32_t whole[2] = {y[2 * n], y[2 * n + 1]};
        if constexpr (kSplit) {
          uint32_t y_high[2], y_low[2];
          split_operand(whole, y_high, y_low);
          float part[4] = {};
          mma_sync<T>(part, low, y_high);
          mma_sync<T>(part, high, y_low);
          mma_sync<T>(part, high, y_high);
#pragma unroll
          for (int i = 0; i < 4; ++i) of_chunk[pair][n][i] += part[i];
        } else {
          mma_sync<T>(of_chunk[pair][n], x, whole);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kPairs * 8; ++i) {
    sums[i / 8][i / 4 % 2][i % 4] += of_chunk[i / 8][i / 4 % 2][i % 4];
  }
}

// The sums of all warps to shared memory, [in channel][row of the block], where one loop of little
// code takes them from.
template <int kPairs>
__device__ __forceinline__ void stage_sums(const float (&sums)[kPairs][2][4], float* staged) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();  // what lay there has been multiplied
#pragma unroll
  for (int i = 0; i < kPairs * 8; ++i) {
    const int in = i / 4 * 8 + lane % 4 * 2 + i % 2, row = warp * 16 + lane / 4 + i / 2 % 2 * 8;
    staged[in * kTapSumsPitch + row] = sums[i / 8][i / 4 % 2][i % 4];
  }
  __syncthreads();  // all sums are there
}

// Shared memory of a block's operands, `ins` in channels of them, where later its sums are.
constexpr int gathered_shared_bytes(int ins) {
  const int operands = (kTapRows + ins) * kTapPitch;
  const int sums = ins * kTapSumsPitch * static_cast<int>(sizeof(float));
  return operands > sums ? operands : sums;
}

}  // namespace convt3d::cuda::few_channels
