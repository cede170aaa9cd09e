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
  int runs;      // of units: of a chunk, each `lines` lines that follow each other in h
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
  int64_t parts;  // floats of the gradients' partial results; of units, words of their operands
  // Forward by units, see unit_kernel.cuh. `copy` is the input between zeros: its first position
  // on each axis, how many there are, and its place in the workspace. `part` of a class is where
  // its weights begin.
  bool units;
  int copy_first[3], copy_extent[3];
  int64_t copy;
};

Config choose(const Description& description, const Device& device);
// Of a forward by units: with no classes where it does not fit.
Config search_units(const Description& description, const Device& device);
std::string to_string(const Config& config);

}  // namespace convt3d::cuda::subpixel_gemm
