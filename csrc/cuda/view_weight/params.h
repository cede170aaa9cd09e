// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is told: one call in numbers.
#pragma once
#include <cstdint>

#include "cuda/halo_weight/params.h"
#include "cuda/sm90/line.h"
#include "cuda/view_weight/tuning.h"

namespace convt3d::cuda::view_weight {

struct Params {
  halo_weight::Work work;
  int lanes, out_width;  // taps of a unit, and channels of each
  int run;               // units that have neighbouring taps, lane by lane; 1: none
  int stages, stage_bytes, chain;
  int box[4], tiles[4], stride[3];
  int halo_pitch[3];  // rows of a view from one image, plane and line to the next
  int box_positions;  // of a box, and
  int positions;      // with those that fill up the last line
  sm90::Order order;  // of positions in a line
  int input_bytes;    // of a stage, before the views; float32: high parts, then low ones
  bool turns_input;   // blocks turn rows of input around themselves: `raw_parts` of 32 channels
  int raw_parts, raw_part_bytes, raw_part_loaded;
  int input_loads, lines;  // loads of so many lines each
  int view_bytes, view_loaded;
  uint32_t swizzle;  // the bits of an address that change
  int16_t view_start[halo_weight::kMaxViews][3];
  halo_weight::LaneEntry lane[kMaxLanes];
  uint16_t tap[kMaxLanes];  // of each lane
  halo_weight::Target target;
};

}  // namespace convt3d::cuda::view_weight
