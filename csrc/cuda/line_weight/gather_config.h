// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call into the blocks of gather_kernel.cuh. Plain C++, as config.h.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::line_weight {

struct GatherConfig {
  int channels, taps_d, rows;  // of a block: out_channels, taps of d, and their product
  int columns;                 // of a block: in_channels
  int shares;                  // warpgroups that share a stage's positions
  int lines, depths, chunks;   // of a stage: lines of input, instructions of a line; of a line
  int line_steps;              // stages of a chunk of a plane
  int line_bytes, pair_bytes;  // in a stage: a line of grad_output, two of them of all rows
  int box_rows;                // of boxes of lines that begin anywhere; zero without
  int stages, stage_bytes, input_bytes;
  bool odd;  // lines of grad_output that are no multiples of 16 bytes
  int64_t units, jobs, splits;
  int chain;  // instructions that may be added in one accumulator
  double full, clocks;
};

// Without a cut that fits, the result has no stages.
GatherConfig choose_gather(const Description& description, const Device& device);
// Whether a call has that cut: where it is estimated to be faster than the others. An input
// that does not begin on 16 bytes is weight_gemm's.
bool gathers(const Description& description, const Device& device);
std::string to_string(const GatherConfig& config);
int64_t partial_bytes(const GatherConfig& config);

}  // namespace convt3d::cuda::line_weight
