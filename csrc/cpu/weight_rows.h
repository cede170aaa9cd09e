// SPDX-License-Identifier: BSD-3-Clause
// grad_weight as sums over rows of positions.
//
//   grad_weight[ci, co, tap] = sum over samples, q of input[ci, q] * output[co, stride * q +
//   dilation * tap - padding]
//
// Both tensors are packed with the channels innermost, output's rows cut into their remainders
// modulo the stride:
//
//   input row    (n, qd, qh):          [q][channel]
//   output row   (n, zd, zh): [remainder][(z - remainder) / stride][channel]
//
// so that a tap reads a run of neighbouring positions of either. Only positions that lie in both
// tensors are in a run: nothing is computed for padding. A product of a run is a GEMM of one side's
// channels as vectors and the other's as rows, each broadcast, summed over the run's positions.
// Channels of small groups would leave vectors empty: there a vector is one channel of many groups,
// on both sides, and a product is that of two vectors.
//
// Where the CPU has dot products of bfloat16 pairs, a position is a pair: input's of (2i, 2i + 1),
// output's of (j, j + 1) for every j, one before the first included, as a tap shifts by any number.
// What a pair has outside the tensor is zero.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "plan/description.h"

namespace convt3d::cpu {

// Channels of the broadcast side computed together, at most; a remainder is cut into 4, 2, 1.
inline constexpr int64_t kRowBlock = 8;
// Channels of a group, on either side, below which vectors are groups'. Measured on Zen 3 and
// Sapphire Rapids, too: 8 in groups of 8 1.8x to 4.2x torch, 5 and 2 level with it, 1 0.3x.
inline constexpr int64_t kFewChannels = 8;

// What is packed at once of one tensor.
struct WeightPanel {
  int64_t channels;         // per group
  int64_t padded_channels;  // per group, to whole vectors on the vector side
  int64_t padded_groups;    // to whole vectors where they are groups'
  int64_t row;              // elements of one channel in a row
  Extent3 rows;             // of the slab, at most: samples, depth, height
  int64_t row_count() const { return volume(rows); }
  // Of one channel in the slab.
  int64_t channel_elements() const { return row_count() * row; }
  int64_t elements() const { return padded_groups * padded_channels * channel_elements(); }
};

struct WeightRows {
  Problem problem;
  bool pairs;               // bfloat16 dot products
  bool group_vectors;       // vectors of groups, on both sides
  bool output_is_vector;    // else input is
  int64_t lanes;            // of a vector
  int64_t output_units;     // positions of one remainder of an output row, margin included
  int64_t tap_depth;        // taps along depth that one item computes
  Extent3 slab, num_slabs;  // of input rows: samples, depth, height
  WeightPanel input, output;

  int64_t position_step() const { return pairs ? 2 : 1; }
  const WeightPanel& vector_side() const { return output_is_vector ? output : input; }
  const WeightPanel& row_side() const { return output_is_vector ? input : output; }
  int64_t vector_block() const { return 2 * lanes; }
  // What vectors are cut from: of a group, or the groups.
  int64_t padded_lanes() const {
    return group_vectors ? input.padded_groups : vector_side().padded_channels;
  }
  int64_t vector_blocks() const;
  int64_t row_blocks() const;
  int64_t tap_parts() const;
  int64_t num_items() const {
    return (group_vectors ? 1 : problem.groups) * tap_parts() * vector_blocks() * row_blocks();
  }
  int64_t item_taps() const { return tap_depth * problem.kernel[1] * problem.kernel[2]; }
  // Sums of one item: [tap][row][vector lane].
  int64_t item_elements() const {
    const int64_t rows = group_vectors ? 1 : std::min(kRowBlock, row_side().channels);
    return item_taps() * rows * std::min(vector_block(), padded_lanes());
  }
};

// lanes: of the compute type.
WeightRows weight_rows(const Description& description, int64_t lanes, bool pairs);

// Rows {sample, d, h} of the tensors in the panels.
struct WeightSlab {
  Extent3 input_first, input_count, output_first, output_count;
};
WeightSlab weight_slab(const WeightRows& rows, const Extent3& input_first);

// The runs of one tap, in positions of one channel of the panels.
struct TapRuns {
  Extent3 count;                    // samples, depth, height
  int64_t length;                   // of a run; 0 if the tap joins no positions
  int64_t input, output;            // where the first run begins
  Extent3 input_step, output_step;  // between runs
};
std::vector<TapRuns> tap_runs(const WeightRows& rows, const WeightSlab& slab);

}  // namespace convt3d::cpu
