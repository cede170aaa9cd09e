// SPDX-License-Identifier: BSD-3-Clause
// The cut of a call whose positions are walked over (walk_kernel.cuh). Plain C++.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/halo_weight/config.h"
#include "cuda/halo_weight/walk_tuning.h"
#include "plan/description.h"

namespace convt3d::cuda::halo_weight {

// Taps that meet the same input positions: those from `first` on, `extent` of them. What the first
// of them meets of grad_output begins at `corner`.
struct WalkClass {
  Extent3 first, extent, corner;
  int64_t boxes(int64_t batch) const;
};
struct WalkTap {
  int tap, of_class;
  Extent3 shift;  // of grad_output, from the class's corner on
};
// Taps of the largest class first.
struct WalkTaps {
  std::vector<WalkClass> classes;
  std::vector<WalkTap> taps;
};

// `skips`: input positions that a tap does not meet are left out. False where TMA cannot.
bool make_walk_taps(const Problem& problem, bool skips, WalkTaps* taps);

struct WalkConfig {
  int channels = 0, units = 0;  // in_channels of an instruction; instructions of a warpgroup
  int out_width = 0;            // out_channels of a job's taps
  bool skips = false;
  bool lines = false;  // input as NCDHW has it, 64 positions of a channel in a row
  int chain = 0;       // boxes added in one accumulator
  int unit_jobs = 0, in_tiles = 0;
  int64_t all_tiles = 0;  // boxes of a job that skips nothing
  int blocks = 0;
  bool apart = false, direct = false, turned = false;  // as Config's
  bool packed_input = false, packed_output = false;
  double clocks = 0;
};

// Without a cut, the result has no units.
WalkConfig choose_walk(const Description& description, const Device& device);
std::string to_string(const WalkConfig& config);
// Whether that is estimated to be faster than config.h's.
bool walks(const Description& description, const Device& device);

inline int job_rows(const WalkConfig& c) { return kWalkGroups * c.units * 64; }
inline int64_t piece_elements(const WalkConfig& c) { return int64_t{job_rows(c)} * c.channels; }
inline int64_t pieces(const WalkConfig& c) {
  const int64_t jobs = int64_t{c.unit_jobs} * c.in_tiles;
  if (c.direct) return c.chain < c.all_tiles ? jobs : 0;
  return c.blocks + jobs - 1;
}

}  // namespace convt3d::cuda::halo_weight
