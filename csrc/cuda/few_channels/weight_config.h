// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for one call of grad_weight. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "cuda/few_channels/config.h"

namespace convt3d::cuda::few_channels {

struct WeightConfig {
  Mapping mapping;   // planes, channels or depthwise
  int ins, outs;     // channels that a thread keeps: all pairs of them; depthwise: each its own
  int taps_w;        // neighbouring taps on w that it keeps
  int cells;         // positions on the run axis that it takes at once
  int run_axis;      // d or h
  int tap_step;      // between taps of the run axis that read the rows of neighbouring cells
  bool shares_rows;  // whether there are any
  int lanes;         // pairs of channel blocks (planes: or taps) side by side in a block
  int64_t in_blocks, out_blocks, pairs;
  int64_t run_jobs, w_jobs, tap_jobs;  // tap_jobs: all of one pair
  int64_t blocks;                      // thread blocks of one split
  int64_t positions, steps;            // runs; what each thread of a block takes of them
  int64_t splits;
};

WeightConfig choose_weight(const Description& description, const Device& device);
std::string to_string(const WeightConfig& config);

}  // namespace convt3d::cuda::few_channels
