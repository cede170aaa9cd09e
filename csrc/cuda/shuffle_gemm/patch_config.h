// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for grad_input, and forward of 32 bits, by whole patches (patch_kernel.cuh). Plain
// C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::shuffle_gemm {

// Of two lines as one (PatchConfig::two_lines), a box of each: bytes of a row of which `own` are
// the positions', starting at up to 8 before them; and of all rows.
constexpr int64_t patch_line_bytes(int64_t own) { return (own + 8 + 15) / 16 * 16; }
constexpr int64_t patch_line_box(int64_t rows, int64_t own) {
  return (rows * patch_line_bytes(own) + 127) / 128 * 128;
}

struct PatchConfig {
  int columns;             // in_channels of a tile
  std::array<int, 4> box;  // positions of a tile: n, d, h, w
  bool scatters;           // forward: columns are pairs of out_channel and tap
  bool joins_eights;       // NCDHW, 16 bits: eight rows of a tile are 16 bytes of the result
  bool two_lines;          // NCDHW: the map has two lines as one, and each a box
  int merged;              // NCDHW: axes that are one with w in the tensor map: h, and d
  int64_t tiles, slices;   // of positions; of columns, of which a block keeps to one
  int64_t walkers;         // blocks of a slice; they share its tiles
  int64_t splits;          // of K: blocks of a cluster that share a tile
  int line_chunks;         // 128-byte chunks of K in a line (td, th) of a patch; NCDHW: all
  int chunks;              // in all
  bool resident;           // the slice's weights stay in shared memory
  int stages;
  int64_t blocks;     // on an SM
  int64_t sum_bytes;  // of a cluster's sums that a block adds up
  int64_t shared_bytes;
};

// A pointwise layer in NDHWC whose positions are no multiples of 16 bytes: so many neighbouring
// positions are taken as one with as many times the channels, and the weight as a matrix with as
// many copies on its diagonal. Else 1.
int64_t fold_of(const Description& description);
// Forward is grad_input of a pointwise layer, whose weight has been turned and whose in_channels
// are pairs of out_channel and tap; the same call with folded positions; where there is only one,
// the batch is the line w, and the channels are those of all taps.
Description fold_positions(const Description& description);
// Bytes of the folded or turned weight, or of float32's two parts; 0 without.
int64_t packed_weight_bytes(const Description& description);

// Whether there is a kernel for such a call, if its tensors are aligned.
bool patches_fit(const Description& description, const Device& device);
// Of the call with folded positions.
PatchConfig choose_patches(const Description& description, const Device& device);
std::string to_string(const PatchConfig& config);

}  // namespace convt3d::cuda::shuffle_gemm
