// SPDX-License-Identifier: BSD-3-Clause
// Which taps share a box of grad_output (a view), and which make up the 64 rows of an instruction
// (a unit). Along one axis, tap k of input position i meets grad_output at s * i + d * k - p:
//
//   taps with equal (d * k - p) mod s meet the same positions, moved: a view holds every s-th
//   position, and a tap of it is a shift by whole rows
//
//   out_channels of a row   lanes of a unit      a unit's lanes are taps at equal distances in
//     64                      1                  shared memory: any two, or more in the same
//     32, 16                  2, 4               line, or each in a view of its own
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "geometry/problem.h"

namespace convt3d::cuda::halo_weight {

// One tap in its view.
struct Lane {
  int tap = -1;  // (kd * kernel h + kh) * kernel w + kw
  int view = -1;
  std::array<int, 3> shift{};  // in positions of the view

  bool operator==(const Lane&) const = default;
};

struct Taps {
  std::vector<std::array<int, 3>> views;  // where the view of input position 0 starts
  std::vector<Lane> lanes;                // of all units; absent lanes have no tap
  int units = 0;
  std::array<int, 3> halo{};
};

// On which axes taps may share a view: all choices.
std::vector<std::array<bool, 3>> share_choices(const Problem& problem);

Taps make_taps(const Problem& problem, const std::array<bool, 3>& shares, int lanes);

// Views that a job of `units` units needs, over all out_channels in `parts`.
struct Views {
  int most = 0;
  double mean = 0;
};
Views count_views(const Taps& taps, int lanes, int parts, int units);

}  // namespace convt3d::cuda::halo_weight
