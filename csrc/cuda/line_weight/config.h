// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call into blocks. Plain C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/line_weight/tile.h"
#include "cuda/line_weight/tuning.h"
#include "plan/description.h"

namespace convt3d::cuda::line_weight {

struct Config {
  Tile tile;
  std::array<int, 3> box;         // input positions of a stage
  int input_pitch;                // places of the box's lines among the positions, even
  int output_pitch;               // elements from line to line of a box, in shared memory
  int row_bytes;                  // from row to row: of all lines of a box
  int lead;                       // elements loaded before a line's first
  int input_piece, output_piece;  // elements of a copy, if pointers and strides allow it
  std::array<int64_t, 4> tiles;   // boxes: batch, d, h, w
  int64_t all_tiles, lines, line_tiles, column_tiles, jobs, splits;
  bool clustered;  // the splits of a job are a cluster
  int chain;       // stages that may be added in one accumulator
  int stages, stage_bytes;
  double clocks;
};

// Without a cut that fits, the result has no stages.
Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);

// Of a line of grad_output: elements that a box's taps meet, and those before them.
inline int line_elements(const Config& c) {
  return c.lead + c.tile.stride * (c.box[2] - 1) + c.tile.taps + (c.tile.odd ? 1 : 0);
}
// Stages that shared memory holds beside the tables of copies of so many elements.
int64_t stages_of(const Problem& problem, const Config& config, int input_piece, int output_piece);
// Whether a stage has positions that no copy writes.
inline bool has_holes(const Config& c) {
  return c.input_pitch != c.box[2] || c.box[0] * c.box[1] * c.input_pitch != kPositions;
}
// Of a block.
inline int64_t sum_bytes(const Tile& tile) {
  return int64_t{4} * tile.lines() * tile.taps * tile.columns;
}
inline int64_t partial_bytes(const Config& c) {
  const bool parts = !c.clustered && (c.splits > 1 || c.chain < c.all_tiles);
  return parts ? c.jobs * c.splits * sum_bytes(c.tile) : 0;
}

}  // namespace convt3d::cuda::line_weight
