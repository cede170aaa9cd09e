// SPDX-License-Identifier: BSD-3-Clause
// The choice among direct's kernels for one call. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::direct {

enum class Scheme { tiled, gather, outputs, resident, taps };

struct Config {
  Scheme scheme;
  // tiled: columns of a block; resident: residues of h of a block; the others: channels that a
  // thread keeps.
  int tile_n;
  bool wide;         // 64-bit coordinates, for axes beyond kMaxCoordinate; gather only
  int64_t packed_n;  // channels of a group in the packed weight, padded; forward and grad_input
  int64_t splits;    // grad_weight: parts of the sum over positions, added in order afterwards
};

Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);
// Bytes of the packed weight, rounded up so that 64-bit numbers may follow.
int64_t packed_bytes(const Description& description, const Config& config);

}  // namespace convt3d::cuda::direct
