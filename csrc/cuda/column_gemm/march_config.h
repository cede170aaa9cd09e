// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for forward with all taps as columns. Plain C++: the planner is built without
// CUDA. Cells as in config.h.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/column_gemm/config.h"

namespace convt3d::cuda::column_gemm {

// Column tiles of a warp, and of a block at most.
inline constexpr int kWarpColumnTiles = 4;
inline constexpr int64_t kMaxMarchTiles = 8;

struct MarchConfig {
  std::array<int, 3> cells;   // of a box
  std::array<int, 3> tiles;   // boxes along each axis
  int column_tiles;           // of 8 columns, a multiple of kWarpColumnTiles
  int pairs;                  // of 16 rows: positions of a plane of the box, with the halo
  int steps, chunks, stages;  // as in Config
  int line_rows;              // positions of a line that are kept
  bool rows;                  // input: a position's channels are contiguous
  int64_t shared;             // bytes; 0: nothing fits
};

// Floats from a column of sums to the next: lanes of a quad are 8 banks apart.
constexpr int march_sum_pitch(int pairs) { return pairs * kWarpRows + 4; }

MarchConfig choose_march(const Description& description, const Device& device);
std::string to_string(const MarchConfig& config);

}  // namespace convt3d::cuda::column_gemm
