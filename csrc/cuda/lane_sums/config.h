// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for a call. Plain C++: the planner is built without CUDA.
#pragma once
#include "plan/description.h"

namespace convt3d::cuda::lane_sums {

struct Config {
  int tile;       // neighbouring channels of the result whose sums the same lanes have
  int lanes;      // threads that share them: a power of two, at most a warp
  int64_t units;  // such tiles of results
};

Config choose(const Description& description, const Device& device);

}  // namespace convt3d::cuda::lane_sums
