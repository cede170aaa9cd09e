// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call. Plain C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/halo_weight/taps.h"
#include "cuda/sm90/line.h"
#include "cuda/view_weight/tuning.h"
#include "plan/description.h"

namespace convt3d::cuda::view_weight {

struct Config {
  bool full = false;           // float32, as three products of TF32
  int columns = 0, units = 0;  // in_channels of a block; instructions of a warpgroup
  bool runs = false;           // a warpgroup's units are neighbouring taps of a line
  int out_width = 0;           // channels of a row of a view: 32 or 16
  // Whether the taps of a residue share one halo along the axis, or have boxes of their own.
  std::array<bool, 3> shares{};
  std::array<int, 4> box{};   // input positions of a stage: batch, d, h, w
  std::array<int, 3> halo{};  // positions of grad_output beyond it
  int positions = 0;          // of a box, filled up to whole lines
  int view_rows = 0, max_views = 0;
  int stages = 0, stage_bytes = 0, chain = 0;  // chain: boxes added in one accumulator
  int unit_jobs = 0, in_tiles = 0;
  std::array<int64_t, 4> tiles{};  // boxes on each axis
  int64_t all_tiles = 0;
  int blocks = 0;
  bool apart = false;   // each job has as many blocks, which all jobs cut at the same positions
  bool direct = false;  // each block stores one job's sums into the weight
  bool turned = false;  // or as [in_channel][tap][out_channel], which a launch turns
  bool turns_input = false;  // blocks bring input's rows in line, else a launch before them
  bool packed_output = false;
  double clocks = 0;
};

// Numbers that each element of input is in shared memory.
inline int parts_of_input(const Config& c) { return c.full ? 2 : 1; }
inline int lanes_of_unit(const Config& c) { return kUnitRows / c.out_width; }
inline int job_units(const Config& c) { return kWarpgroups * c.units; }
inline sm90::Order order_of(const Config& c) {
  if (c.runs) return sm90::Order::runs;
  return c.out_width == 32 ? sm90::Order::rows_128 : sm90::Order::rows_64;
}

// Of a box of rows of input, as they wait to be turned around, and of those that fill up its lines.
int64_t raw_part_bytes(const Config& config);

// Taps as units have them, with absent lanes at the end of a part of out_channels: a unit's are
// those that follow each other; with runs, each `units` units have neighbouring taps of a line,
// lane by lane. No units where taps are no runs.
halo_weight::Taps arrange(const halo_weight::Taps& taps, const Config& config);

// The layer whose sums are computed (halo_weight/fold.h).
Description fold_of(const Description& description, const Device& device);

// Without a cut that fits, the result has no units.
Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);

// Sums that a block puts into the workspace at once.
inline int64_t piece_elements(const Config& c) {
  return int64_t{job_units(c)} * kUnitRows * c.columns;
}
inline int64_t pieces(const Config& c) {
  const int64_t jobs = int64_t{c.unit_jobs} * c.in_tiles;
  if (c.direct) return c.chain < c.all_tiles ? jobs : 0;
  return c.blocks + jobs - 1;
}
// The workspace: pieces, then the packed input, then the packed grad_output.
int64_t pieces_bytes(const Config& config);
int64_t packed_input_bytes(const Config& config);
int64_t packed_output_bytes(const Description& description, const Config& config);

}  // namespace convt3d::cuda::view_weight
