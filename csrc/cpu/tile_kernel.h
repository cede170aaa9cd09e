// SPDX-License-Identifier: BSD-3-Clause
// Runs tiles of a FlatConvolution: pack the source box, multiply, store interleaved.
#pragma once
#include <cstdint>
#include <vector>

#include "cpu/flat_convolution.h"
#include "plan/operands.h"

namespace convt3d::cpu {

// The taps of one (d, h, w) triple of classes.
struct ClassTaps {
  int64_t weight;               // first packed tap of this class
  std::vector<int64_t> shifts;  // into the panel: remainder plane and shift in the box
};

struct TileJob {
  FlatConvolution flat;
  std::vector<ClassTaps> classes;  // d-major, as axis[].classes
  int64_t num_taps;                // over all classes
  TensorView source, destination;
  const void* bias;
  int64_t bias_stride;
  const void* packed_weight;  // [group][channel block][tap][source channel][row of the block]
};

// Runs items [begin, end) in a slice of panel_elements() + strip_elements() of the compute type.
using RunTiles = void (*)(const TileJob& job, int64_t begin, int64_t end, void* slice);
RunTiles run_tiles(Precision precision);

// The rows of the channel block that starts at `row`: 8, then 4, 2, 1 for what is left.
inline int64_t block_rows(int64_t row, int64_t channels) {
  int64_t rows = kChannelBlock;
  while (row + rows > channels) rows /= 2;
  return rows;
}

}  // namespace convt3d::cpu
