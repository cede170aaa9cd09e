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
  int64_t far_origin[3];        // the share of each axis
};

// One residue of one axis, as AxisResidue of geometry/residue.h; written by prepare_kernel.
struct Residue {
  int64_t first_output, num_outputs, first_tap, num_taps, first_input;
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
  int64_t residues[3];              // per axis; 1 in the gradient directions
  const Residue* residue_table[3];  // [residues[axis]]
  int64_t output_step[3], tap_step[3], input_step[3];

  // The work list; see decode_work().
  int64_t row_tiles, column_tiles, group_tiles, splits, work;
  int run_axis;     // depthwise: the axis of a thread's rows, d or h
  int group_lanes;  // gather: neighbouring threads that take neighbouring groups
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

// Narrows rows and pairs to one residue of an axis. Each axis may be entered by another thread.
__device__ __forceinline__ void enter_residue(const GatherGemm& p, int axis, int64_t residue,
                                              Side* rows, Side* pairs) {
  const Residue entry = p.residue_table[axis][residue];
  const int64_t output_stride = rows->far_stride[1 + axis];
  rows->radix[1 + axis] = entry.num_outputs;
  rows->scale[axis] = 1;
  rows->base[axis] = entry.first_input;
  rows->far_stride[1 + axis] = output_stride * p.output_step[axis];
  rows->far_origin[axis] = output_stride * entry.first_output;
  const int64_t tap_stride = pairs->far_stride[axis];
  pairs->radix[axis] = entry.num_taps;
  pairs->scale[axis] = -p.input_step[axis];
  pairs->far_stride[axis] = tap_stride * p.tap_step[axis];
  pairs->far_origin[axis] = tap_stride * entry.first_tap;
}

// One work item and its sides, into shared memory. Ends with all threads seeing them.
__device__ __forceinline__ void enter(const GatherGemm& p, int64_t index, Work* work, Side* rows,
                                      Side* pairs) {
  __syncthreads();  // the previous item is read no more
  if (threadIdx.x == 0) *rows = p.rows;
  if (threadIdx.x == 32) *pairs = p.pairs;
  if (threadIdx.x == 64) *work = decode_work(p, index);
  __syncthreads();  // what all residues share is there
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    if (p.has_residues && threadIdx.x == 32 * axis) {
      enter_residue(p, axis, work->residue[axis], rows, pairs);
    }
  }
  __syncthreads();  // the residue is entered on all axes
}

__device__ __forceinline__ int64_t count(const Side& side) {
  return side.radix[0] * side.radix[1] * side.radix[2] * side.radix[3];
}

template <typename Digit>
__device__ __forceinline__ void decode_digits(const Side& side, int64_t index, Digit digit[4]) {
#pragma unroll
  for (int i = 3; i > 0; --i) digit[i] = static_cast<Digit>(divide(&index, side.radix[i]));
  digit[0] = static_cast<Digit>(index);
}

// decode_digits() of a side with fewer than 2^32 members. Without a branch, so that the reciprocals
// of the radices are computed once for several indices.
__device__ __forceinline__ void decode_small_digits(const Side& side, uint32_t index,
                                                    int64_t digit[4]) {
#pragma unroll
  for (int i = 3; i > 0; --i) {
    const uint32_t radix = static_cast<uint32_t>(side.radix[i]);
    const uint32_t quotient = index / radix;
    digit[i] = index - quotient * radix;
    index = quotient;
  }
  digit[0] = index;
}

// A point of one side in the source: its coordinates and their element offset. Coordinates are int
// or int64_t; choose() bounds those that are int by kMaxCoordinate.
template <typename Coordinate>
struct alignas(16) Place {
  int64_t offset;
  Coordinate coordinate[3];
};

template <typename Coordinate, typename Digit>
__device__ __forceinline__ Place<Coordinate> place(const GatherGemm& p, const Side& side,
                                                   const Digit digit[4]) {
  Place<Coordinate> result;
  result.offset = (side.first_axis == 0 ? digit[3] : digit[0]) * side.other_source_stride;
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    const auto axis_digit =
        static_cast<Coordinate>(side.first_axis == 0 ? digit[axis] : digit[axis + 1]);
    const Coordinate coordinate = static_cast<Coordinate>(side.base[axis]) +
                                  static_cast<Coordinate>(side.scale[axis]) * axis_digit;
    result.coordinate[axis] = coordinate;
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

__device__ __forceinline__ int64_t far_origin(const Side& side) {
  return side.far_origin[0] + side.far_origin[1] + side.far_origin[2];
}

template <typename Digit>
__device__ __forceinline__ int64_t far_offset(const Side& side, const Digit digit[4]) {
  int64_t offset = far_origin(side);
#pragma unroll
  for (int i = 0; i < 4; ++i) offset += digit[i] * side.far_stride[i];
  return offset;
}

}  // namespace convt3d::cuda::direct
