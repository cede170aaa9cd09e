// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "plan/description.h"
#include "plan/family.h"

namespace convt3d::cuda::implicit_gemm {

// A tile's rows: extents over {batch, d, h, w} of one residue's outputs.
using Box = std::array<int, 4>;

struct Config {
  Box box{1, 1, 1, 1};
  int columns = 0;  // of a tile: output channels
  int steps = 0;    // 32-byte steps of input channels that are loaded together
  int chunks = 0;   // of steps * 32 bytes, over all input channels
  int input_stages = 0, weight_stages = 0;
  int weight_group = 0;       // blocks (of one tap and one chunk) in a weight stage
  bool all_residues = false;  // of a tile in one item
  int chain = 0;              // longest of a sum (cuda/sm90/parked_sums.cuh); 0: none is longer
  double clocks = 0;          // of the device, estimated
  int split_axes = 0;         // grad_input: so many of the last axes have one halo for all residues
};

// What a kernel of these tiles is built for, and what an SM gives it.
struct Limits {
  int rows;  // of a tile
  int max_columns;
  bool (*is_built)(int columns, int steps);
  int64_t shared_bytes;
  double column_clocks;  // that a column of 64 rows and 32 bytes of channels takes
  int weight_reads;      // how often 64 rows read a block of weights from shared memory
  // The longest sum that is not added up in parts, in steps or, of chunks, in additions; 0: any.
  int chain;
  bool adds_chunks;
  bool (*can_park)(Precision precision, int columns, int steps);  // whether there is such a kernel
  // With 1, boxes that leave rows of the tile empty are looked at, too: where shared memory is
  // small, no other may fit.
  int min_input_stages;
};

// Without a box that fits, the result has no columns.
Config search(const Description& description, int num_sms, const Limits& limits);
Config choose(const Description& description, const Device& device);
// Why no kernel of these tiles takes it.
Verdict supports_problem(const Description& description, const Device& device);
std::string to_string(const Config& config);
// The workspace: the weight in blocks (channels padded to whole ones, fp32 as two parts), then the
// parked sums, then packed rows.
int64_t packed_weight_bytes(const Description& description, const Config& config);
// Where the packed rows of grad_output begin in the workspace.
int64_t rows_offset(const Description& description, const Config& config, const Device& device);

}  // namespace convt3d::cuda::implicit_gemm
