// SPDX-License-Identifier: BSD-3-Clause
// The choice among shuffle_gemm's kernels for one call. Plain C++: the planner is built without
// CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::shuffle_gemm {

// Positions x columns of a block's tile.
// The last is the only block on an SM, and shares its tile's K with others.
enum class TileKind { t256x64, t128x128, t64x64, t128x32, t128x128_shared };

struct Config {
  TileKind tile;
  int64_t tiles;    // of positions
  int64_t slices;   // of columns; a block keeps to one
  int64_t chunks;   // of in_channels
  int64_t walkers;  // blocks of a slice; they share its tiles
  bool resident;    // the slice's weights stay in shared memory
  int64_t blocks_per_sm, shared_bytes;
  int64_t splits;  // of K: blocks of a cluster that share a tile
};

Config choose(const Description& description, const Device& device);
// The same with the tile given.
Config choose_with(TileKind tile, const Description& description, const Device& device);
std::string to_string(const Config& config);

}  // namespace convt3d::cuda::shuffle_gemm
