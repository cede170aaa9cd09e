// SPDX-License-Identifier: BSD-3-Clause
// How a call is cut into blocks. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::subpixel_gemm {

// Limit: cuts of an axis into kMaxSpans spans of residues, on d and on h.
inline constexpr int kMaxSpans = 4;
inline constexpr int kMaxClasses = kMaxSpans * kMaxSpans;

// Residues of d and h (pairs are in this order) that are computed alike. A *line* is a pair of
// them, in NCDHW with an out channel: a line of the output, seen from one line of positions.
struct ResidueClass {
  int residue[2], residues[2];  // the first, and how many
  int taps[2];                  // of each residue, as many as any of them has
  int first_q[2], num_q[2];     // positions with outputs
  int lines, chunks;            // of a chunk, and how many chunks there are
  int splits, first_block;      // blocks that share a chunk's tiles
  int depth;                    // taps x in channels, padded to 32 bytes
  int columns;                  // of a chunk and group: lines x residues of w, padded to 16
  int tiles;
  int64_t part;  // where the gradients' partial results begin, in the workspace
};

struct Config {
  int num_classes;  // 0 where the call does not fit
  ResidueClass classes[kMaxClasses];
  int blocks;
  int tile_groups, tile_outs;  // whose channels are neighbours in a line: NDHWC, else 1 and 1
  int taps_w, first_q, num_q;  // of w
  // Positions of a tile: some lines, or a part of one. Parts begin step_w behind each other.
  int tile_w, tile_lines, parts_w, step_w;
  bool dense;     // elements of a line are neighbours, channels included
  int shared;     // bytes
  double clocks;  // of all SMs together
  int64_t parts;  // floats of the gradients' partial results
};

Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);

}  // namespace convt3d::cuda::subpixel_gemm
