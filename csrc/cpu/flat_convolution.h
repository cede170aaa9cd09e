// SPDX-License-Identifier: BSD-3-Clause
// forward and grad_input as one thing: a sum over taps of a padded box, flattened to one dimension.
//
// Both directions compute, for every class of destination positions (forward: a residue of output;
// grad_input: all of input) and every q on the class's grid,
//
//   destination[first + step * q] = sum over taps, channels of weight[tap] * source[q +
//   offset(tap)]
//
// where the source is the input (forward), or grad_output cut into remainders modulo the stride
// (grad_input). A tile of the grid packs the source box that its taps reach, zero-padded, one row
// per channel:
//
//        box of one channel         flattened: position p = (qd * box_h + qh) * box_w + qw
//       +------------------+        and a tap is a constant shift of p, so that
//       | q grid     |halo |          C[row of 8 channels, p] += weight * panel[channel, p + shift]
//       |            |     |        is a GEMM that reads shifted rows of one packed panel.
//       Positions
//       +------------+     |        in the halo are computed and thrown away.
//       | halo             |
//       +------------------+
#pragma once
#include <cstdint>
#include <vector>

#include "plan/description.h"

namespace convt3d::cpu {

// The GEMM kernels work on multiples of this many positions.
inline constexpr int64_t kPositionBlock = 32;
// Destination channels computed together, at most; a remainder is cut into 4, 2, 1.
inline constexpr int64_t kChannelBlock = 8;

struct AxisTap {
  int64_t tap;        // index in the kernel
  int64_t shift;      // in the packed box, >= 0
  int64_t remainder;  // of the source
};

struct AxisClass {
  int64_t first, count;  // destination positions first + step * q, q in [0, count)
  std::vector<AxisTap> taps;
};

struct Axis {
  std::vector<AxisClass> classes;
  int64_t destination_step;
  int64_t grid;  // the largest count
  int64_t remainders, source_step, source_extent;
  int64_t origin;  // source position of box coordinate 0 at q = 0, in units of source_step
  int64_t halo;    // box extent = tile extent + halo
};

struct FlatConvolution {
  Direction direction;
  int64_t batch, groups;
  int64_t source_channels, destination_channels;  // per group
  // Groups that one item packs and stores together: more than one where groups of few channels are
  // neighbours in memory (channels_last), so that whole cache lines move.
  int64_t bundle;
  Axis axis[3];

  Extent3 tile, box, num_tiles;
  int64_t flat;   // positions computed per tile, a multiple of kPositionBlock
  int64_t pitch;  // elements between packed channels

  Extent3 box_of(const Extent3& extent) const {
    return {extent[0] + axis[0].halo, extent[1] + axis[1].halo, extent[2] + axis[2].halo};
  }
  // Positions to compute for a tile of this extent in a box of this pitch.
  static int64_t positions(const Extent3& extent, const Extent3& box) {
    const int64_t last = ((extent[0] - 1) * box[1] + extent[1] - 1) * box[2] + extent[2];
    return (last + kPositionBlock - 1) / kPositionBlock * kPositionBlock;
  }
  int64_t panel_channels() const { return bundle * source_channels; }
  int64_t remainders() const {
    return axis[0].remainders * axis[1].remainders * axis[2].remainders;
  }
  int64_t num_items() const { return batch * groups / bundle * volume(num_tiles); }
  int64_t panel_elements() const { return remainders() * panel_channels() * pitch; }
  // Results of one channel block for all classes along w.
  int64_t strip_elements() const;
  int64_t packed_weight_elements(const Problem& problem) const;
};

// Of a forward or grad_input.
FlatConvolution flat_convolution(const Description& description);
// Of one element in the panel: half types are computed in float.
int64_t compute_bytes(Precision precision);

}  // namespace convt3d::cpu
