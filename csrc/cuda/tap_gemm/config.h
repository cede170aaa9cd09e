// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call into blocks. Plain C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/common/grad_weight_cuts.h"
#include "plan/description.h"

namespace convt3d::cuda::tap_gemm {

// How input comes: packed by a launch before; or as it lies in memory, in lines of 32 positions of
// w, or of 32 that follow each other in a volume.
enum class Input { packed, lines, flat };

struct Config {
  int columns, slabs;  // in_channels of a block; 64 rows each of a warpgroup
  Input input;
  bool planes;              // the halo lies in shared memory channel by channel, else in rows
  bool boxes;               // planes that TMA loads
  int piece;                // elements of a copy, if pointers and strides allow it
  std::array<int, 3> taps;  // of a block
  std::array<int, 4> box;   // input positions of a tile: batch, d, h, w
  std::array<int, 3> halo;  // positions of grad_output that they meet; w as loaded
  int line;                 // places of one line of the halo
  int positions;            // of a stage, a multiple of 32
  int width;                // neighbouring out_channels among the rows
  int block_rows;           // rows of a block that count
  int channels;             // out_channels of a block, at most
  int position_pitch, channel_pitch;  // bytes
  double conflicts;                   // words of a bank that a warp gathers at once
  int slots, stages, stage_bytes, packed_bytes;
  int64_t blocks_of_width;  // of a group's out_channels
  int64_t group_rows;       // of a group of channels and a group of taps
  int64_t column_tiles, row_tiles;
  std::array<int64_t, 3> tap_groups;
  int64_t jobs;                  // blocks of a split
  std::array<int64_t, 4> tiles;  // boxes on each axis
  int64_t all_tiles, splits;
  int64_t flush_tiles;  // tiles between additions to the sums in the workspace; 0: none
};

// `aligned`: TMA may load input as it lies in memory, and grad_output, if their layouts and extents
// allow it.
Config choose(const Description& description, const Device& device, bool aligned, bool* found);
std::string to_string(const Config& config);

// Bytes of the workspace: the packed input, and sums.
int64_t packed_input_bytes(const Config& config, int64_t groups);
int64_t partial_bytes(const Config& config, const Problem& problem);

// Of shared memory, behind the stages.
constexpr int64_t table_bytes(int64_t slots, int64_t positions) {
  constexpr int64_t kSlotBytes = 16;
  return kSlotBytes * slots + int64_t{sizeof(int)} * positions;
}

// In coordinates of the halo.
AxisSteps halo_steps(const Problem& problem, int axis, bool planes);

}  // namespace convt3d::cuda::tap_gemm
