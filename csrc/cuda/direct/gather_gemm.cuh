// SPDX-License-Identifier: BSD-3-Clause
// All three directions as one GEMM whose first operand is gathered:
//
//   C[row, column] = sum over pairs of  source[row, pair] * B[pair, column]
//
//                 rows (4 digits)       pairs (4 digits)       columns        source       B
//   forward       n, qd, qh, qw         jd, jh, jw, in_ch      out_ch         input        weight
//   grad_input    n, id, ih, iw         td, th, tw, out_ch     in_ch          grad_output  weight
//   grad_weight   td, th, tw, out_ch    n, id, ih, iw          in_ch          grad_output  input
//
// q and j count the outputs and taps of one residue (geometry/residue.h), so no multiply is spent
// on a tap of another. Every address is linear in the digits, and the source coordinate of an axis
// is a sum of one row digit and one pair digit; outside the source it contributes 0.
#pragma once
#include <cstdint>
#include <type_traits>

namespace convt3d::cuda::direct {

// One index of the GEMM, as digits; the last runs fastest.
struct Side {
  int64_t radix[4];
  int first_axis;               // digits first_axis + {0, 1, 2} are the axes d, h, w
  int64_t scale[3], base[3];    // source coordinate: base + scale * digit
  int64_t other_source_stride;  // of the digit that is no axis
  int64_t far_stride[4];        // rows: elements of C; pairs: elements of B
  int64_t far_origin;
};

struct GatherGemm {
  const void* source;
  int64_t source_stride[3];  // of d, h, w
  int64_t source_extent[3];
  int64_t source_group_stride;
  const void* b;
  int64_t b_column_stride, b_group_stride;
  void* c;
  int64_t c_column_stride, c_group_stride, c_split_stride;
  const void* bias;  // may be null
  int64_t bias_stride;
  Side rows, pairs;
  int64_t groups, columns;

  // forward: one GEMM for each residue; `rows` and `pairs` hold what all of them share.
  bool has_residues;
  int64_t residues[3];
  int64_t stride[3], padding[3], dilation[3], kernel[3], output[3];

  // The work list; see decode_work().
  int64_t row_tiles, column_tiles, group_tiles, splits, work;
  int group_lanes;             // gather: neighbouring threads that take neighbouring groups
  bool source_lanes_on_pairs;  // tiled: neighbouring threads load neighbouring pairs, else rows
  bool b_lanes_on_pairs;       // likewise, else columns
};

__device__ __forceinline__ int64_t divide(int64_t* value, int64_t by) {
  // Nearly all operands fit 32 bits, where division is several times cheaper.
  const int64_t dividend = *value;
  if (((dividend | by) >> 32) == 0) {
    const uint32_t quotient = static_cast<uint32_t>(dividend) / static_cast<uint32_t>(by);
    *value = quotient;
    return static_cast<uint32_t>(dividend) - quotient * static_cast<uint32_t>(by);
  }
  *value = dividend / by;
  return dividend % by;
}

struct Work {
  int64_t residue[3];
  int64_t row_tile, column_tile, group_tile, split;
};

// The w residues of the same rows come first, so that they complete each other's lines in L2.
__device__ __forceinline__ Work decode_work(const GatherGemm& p, int64_t index) {
  Work work;
  work.residue[2] = divide(&index, p.residues[2]);
  work.column_tile = divide(&index, p.column_tiles);
  work.row_tile = divide(&index, p.row_tiles);
  work.residue[1] = divide(&index, p.residues[1]);
  work.residue[0] = divide(&index, p.residues[0]);
  work.group_tile = divide(&index, p.group_tiles);
  work.split = index;
  return work;
}

// Narrows rows and pairs to one residue of an axis; the formulas are those of geometry/residue.cpp.
__device__ inline void enter_residue(const GatherGemm& p, int axis, int64_t residue, Side* rows,
                                     Side* pairs) {
  const int64_t stride = p.stride[axis], padding = p.padding[axis], dilation = p.dilation[axis];
  const int64_t first_output = ((residue - padding) % stride + stride) % stride;
  const int64_t extent = p.output[axis];
  int64_t common = stride;
  for (int64_t rest = dilation; rest != 0;) {
    const int64_t next = common % rest;
    common = rest;
    rest = next;
  }
  const int64_t tap_step = stride / common;
  int64_t first_tap = 0, num_taps = 0, first_input = 0;
  for (int64_t tap = 0; tap < p.kernel[axis] && tap < tap_step; ++tap) {
    if ((dilation * tap - residue) % stride != 0) continue;
    first_tap = tap;
    num_taps = (p.kernel[axis] - 1 - tap) / tap_step + 1;
    first_input = (first_output + padding - dilation * tap) / stride;
    break;
  }
  const int64_t output_stride = rows->far_stride[1 + axis];
  rows->radix[1 + axis] = first_output < extent ? (extent - 1 - first_output) / stride + 1 : 0;
  rows->scale[axis] = 1;
  rows->base[axis] = first_input;
  rows->far_stride[1 + axis] = output_stride * stride;
  rows->far_origin += output_stride * first_output;
  const int64_t tap_stride = pairs->far_stride[axis];
  pairs->radix[axis] = num_taps;
  pairs->scale[axis] = -(dilation / common);
  pairs->base[axis] = 0;
  pairs->far_stride[axis] = tap_stride * tap_step;
  pairs->far_origin += tap_stride * first_tap;
}

__device__ __forceinline__ int64_t count(const Side& side) {
  return side.radix[0] * side.radix[1] * side.radix[2] * side.radix[3];
}

__device__ __forceinline__ void decode_digits(const Side& side, int64_t index, int64_t digit[4]) {
#pragma unroll
  for (int i = 3; i > 0; --i) digit[i] = divide(&index, side.radix[i]);
  digit[0] = index;
}

// A point of one side in the source: its coordinates and their element offset. Coordinates are int
// or int64_t; choose() bounds those that are int by kMaxCoordinate.
template <typename Coordinate>
struct alignas(16) Place {
  int64_t offset;
  Coordinate coordinate[3];
};

template <typename Coordinate>
__device__ __forceinline__ Place<Coordinate> place(const GatherGemm& p, const Side& side,
                                                   const int64_t digit[4]) {
  Place<Coordinate> result;
  result.offset = (side.first_axis == 0 ? digit[3] : digit[0]) * side.other_source_stride;
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t axis_digit = side.first_axis == 0 ? digit[axis] : digit[axis + 1];
    const int64_t coordinate = side.base[axis] + side.scale[axis] * axis_digit;
    result.coordinate[axis] = static_cast<Coordinate>(coordinate);
    result.offset += coordinate * p.source_stride[axis];
  }
  return result;
}

// Whether the sum of two places is in the source. Unsigned, so that below 0 is outside too.
template <typename Coordinate>
__device__ __forceinline__ bool inside(const GatherGemm& p, const Place<Coordinate>& a,
                                       const Place<Coordinate>& b) {
  using Unsigned = std::make_unsigned_t<Coordinate>;
  bool result = true;
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    result = result &&
             static_cast<Unsigned>(a.coordinate[axis]) + static_cast<Unsigned>(b.coordinate[axis]) <
                 static_cast<Unsigned>(p.source_extent[axis]);
  }
  return result;
}

// Coordinates that lie outside every source whatever the other side adds. Rows mark axis d and
// pairs axis h, so that two marks never meet in one sum.
template <typename Coordinate>
__device__ __forceinline__ Place<Coordinate> nowhere(int axis) {
  Place<Coordinate> result{};
  result.coordinate[axis] = sizeof(Coordinate) == 4 ? INT32_MIN : INT64_MIN;
  return result;
}

__device__ __forceinline__ int64_t far_offset(const Side& side, const int64_t digit[4]) {
  int64_t offset = side.far_origin;
#pragma unroll
  for (int i = 0; i < 4; ++i) offset += digit[i] * side.far_stride[i];
  return offset;
}

}  // namespace convt3d::cuda::direct
