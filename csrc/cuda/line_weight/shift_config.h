// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call into the blocks of shift_kernel.cuh. Plain C++, as config.h.
#pragma once
#include <cstdint>
#include <string>

#include "cuda/line_weight/shift_tuning.h"
#include "plan/description.h"

namespace convt3d::cuda::line_weight {

struct ShiftConfig {
  ShiftTile tile;
  int channels, taps_d;       // of a block: out_channels, taps of d
  int rows;                   // these and the taps of h
  bool flat;                  // grad_output's planes as runs: lines begin anywhere
  bool odd;                   // words hold an element before the first tap's
  int row_bytes, chunks;      // of a line of input: rows of shared memory, that many
  int lines;                  // of input in a stage
  int output_lines;           // of grad_output in a stage: those of each tap of d
  int run_bytes, line_bytes;  // of such a line: of a channel, and of all
  int input_bytes, stage_bytes, stages;
  int64_t line_tiles, width_tiles, boxes;
  int64_t jobs, splits;
  int chain;
  double full;  // the part of the products of all blocks that count
  double clocks;
};

// Without a cut that fits, the result has no stages.
ShiftConfig choose_shifts(const Description& description, const Device& device);
// Whether a call has that cut.
bool shifts(const Description& description, const Device& device);
std::string to_string(const ShiftConfig& config);
int64_t partial_bytes(const ShiftConfig& config);

}  // namespace convt3d::cuda::line_weight
