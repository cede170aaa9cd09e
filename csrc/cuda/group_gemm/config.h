// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for one call. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "cuda/common/chunk.h"
#include "cuda/group_gemm/tuning.h"
#include "plan/description.h"

namespace convt3d::cuda::group_gemm {

// A *part* is up to eight out channels and the in channels that they read: some whole groups, or a
// part of one.
struct Parts {
  int64_t groups;           // of a part; 1 where a group has several parts
  int64_t ins, outs;        // channels of a part, at most
  int64_t count, of_group;  // parts; of one group
  int64_t in_chunks;
};

// Taps as the kernel takes them. Tap t of an axis has the residue d*t mod s and reads the input of
// the cell less d*t / s (its shift). On d and h, the taps of a residue are first, first + step, ...
// On w, kWidth residues are taken together, and a slice is a shift with a tap of each, or none
// (-1); those with a tap of the last come first.
struct Taps {
  int first[2][kMaxStride], count[2][kMaxStride], step[2];
  int width_first[kMaxStride + 1];  // slices of a block of residues on w
  int width_shift[kMaxTapsW], width_tap[kMaxTapsW][2];
  // Pairs of slices of each list, lists in the order (residue of d, of h, block of residues on w),
  // and how many of them, from the first, have a tap of the last residue on w.
  int list_first[kMaxLists + 1], list_all[kMaxLists];
};

struct Config {
  Parts parts;
  int64_t width;         // residues on w taken together
  int64_t width_blocks;  // stride / width
  int64_t pairs;         // of all lists
  Extent3 cells, first_cell, reach;
  Extent3 tile, halo;               // cells of a block; places of the input that they read
  Extent3 boxes;                    // tiles of a batch item
  int64_t plane;                    // chunks from one chunk of in channels of the halo to the next
  int64_t block_parts, part_tiles;  // parts of a block; such blocks
  int64_t splits;                   // blocks that share the boxes
  int64_t pitch;                    // elements of the staging area, of a channel in NCDHW
  int64_t stage_bytes;
  int64_t shared;  // bytes; 0 where no tile fits
};

Parts split_channels(const Problem& problem, int64_t element_bytes);
Taps list_taps(const Problem& problem, int64_t in_chunks);
Config choose(const Description& description, const Device& device);

}  // namespace convt3d::cuda::group_gemm
