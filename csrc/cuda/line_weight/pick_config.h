// SPDX-License-Identifier: BSD-3-Clause
// Elements of grad_output by plain loads (pick_kernel.cuh): pointwise layers with a stride, and two
// taps along w that are neighbours. Pointwise layers of stride 1, all by TMA (point_kernel.cuh).
// Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "geometry/ceil_div.h"
#include "plan/description.h"

namespace convt3d::cuda::line_weight {

// A warpgroup.
inline constexpr int kPickThreads = 128;
// Blocks on an SM, of so many loads of a lane. Limit: registers, and shared memory.
constexpr int pick_blocks(int loads) { return loads == 8 ? 5 : 4; }
// Of a block: in_channels, and at most as many rows (line of grad_output, tap along w).
inline constexpr int kPickChannels = 64;
// Of a tile: bytes of positions.
inline constexpr int kPickRow = 128;
inline constexpr int kPickTileBytes = kPickChannels * kPickRow;
// Tiles of input under way; of grad_output one is in registers, and two in shared memory.
inline constexpr int kPickStages = 3;
inline constexpr int kPickShared = (kPickStages + 2) * kPickTileBytes;

// point_kernel.cuh. Limit: shared memory of as many blocks, with what an instruction reads behind
// the last stage.
inline constexpr int kPointBlocks = 4, kMaxPointStages = 16;
inline constexpr int kPointShared = 55 * 1024;
// point_rows_kernel.cuh: positions of a stage, and channels of a box of input.
inline constexpr int kPointPositions = 64, kPointPart = kPickRow / 4;
inline constexpr int kPointRowLines = 32;
// What its blocks may read of a byte, most of it from L2: rows of channels read, write and read it
// in memory. Tiles of a block: fewer are not worth its start and its sums.
inline constexpr double kPointReads = 3;
inline constexpr int kLeastPointTiles = 4;

struct PickConfig {
  int taps;    // along w
  int loads;   // of a lane, lines of grad_output: a warp's; none: point_kernel.cuh
  int stages;  // of point_kernel.cuh
  int folds;   // positions of a row; 0 in NCDHW
  bool rows;   // point_rows_kernel.cuh
  int64_t job_channels, job_lines;
  int64_t lines, image_tiles, tiles, in_tiles, line_tiles, jobs, splits;
};

// Workspace of weight_gemm, or else few_channels, which has tensors that do not begin where they
// should; below zero: neither takes them.
int64_t pick_fallback_bytes(const Description& description, const Device& device);

// splits = 0: it does not fit, or others are faster.
PickConfig choose_picks(const Description& description, const Device& device);
constexpr int pick_lines(int loads) { return loads * (kPickThreads / 32); }
// Rows (line, tap) of a job as warps have them, and how many four sums of a thread these are.
constexpr int pick_rows(int rows) { return (rows + 15) / 16 * 16; }
constexpr int pick_fours(int rows) { return pick_rows(rows) * (kPickChannels / 4); }
inline int64_t pick_partial_bytes(const PickConfig& c) {
  return c.jobs * c.splits * pick_fours(static_cast<int>(c.job_lines) * c.taps) * 16;
}
// Of grad_output in a stage of point_kernel.cuh, and of all of a stage.
inline int64_t point_lines(const PickConfig& c) {
  return c.folds > 0 ? int64_t{kPickChannels} : c.job_lines;
}
inline int64_t point_bytes(const PickConfig& c) {
  if (c.rows) return round_up(kPointPositions * (c.job_channels + c.job_lines) * 4, 1024);
  return (c.job_channels + point_lines(c)) * kPickRow;
}
std::string to_string(const PickConfig& config);

}  // namespace convt3d::cuda::line_weight
