// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::halo_gemm {

struct Config {
  int slots = 0;       // output planes that one input plane feeds: 1, 2, or the kernel's depth
  int channels = 0;    // output channels of a slot; slots * channels columns
  int fused = 1;       // residues of w that share a tile: all, or 1
  int warpgroups = 0;  // of 64 rows each
  int steps = 0;       // 32-byte steps of input channels that are loaded together
  int chunks = 0;      // of steps * 32 bytes, over all input channels
  // Flat positions, see kernel.cuh: of a line without and with what lies between two lines, lines
  // of a plane with what lies between two planes, planes of a batch item, and strips of a line.
  int strip = 0, pitch = 0, lines = 0, planes = 0, strips = 0;
  int64_t tiles = 0;  // of a strip
  int stage_rows = 0;
  int input_stages = 0, weight_stages = 0;
  int weight_group = 0;       // blocks (of one tap and one chunk) in a weight stage
  int parking_chunks = 0;     // after which sums are parked (cuda/sm90/parked_sums.cuh); 0: never
  int segments = 0;           // of a tile's march, each one block's (walk.cuh); 0: equal parts
  int sharing_blocks = 0;     // that share all items equally (walk.cuh); 0: an item is one block's
  bool resident = false;      // all weights stay in shared memory
  bool joins = false;         // and some of them have parts of an item
  bool weight_rows = false;   // its blocks are swizzled rows, as TMA would bring them
  bool weight_as_is = false;  // TMA brings it from where it is (weight_boxes.h)
  bool packed_input = false;  // the input becomes rows of channels first (sm90/row_pack.h)
  double clocks = 0;          // of the device, estimated
  bool lines_out = false;     // outputs are stored as lines along w (lines.cuh)
  int piece_positions = 0;    // in pieces of 16 bytes, lines that are multiples of so many; or 0
  bool stretches = false;     // as such, both residues of w at once (fused_lines.cuh)
  int batch_rows = 0;         // batch items that are a position's rows (batch_kernel.cuh); 0: flat
  bool turned = false;        // the result is NDHWC first, and turned around (sm90/row_pack.h)
  bool lines_in = false;      // the input stays NCDHW, A goes through registers (lines_in.cuh)
};

Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);
// The workspace: the weight in blocks, then the input where it is packed, whose positions have so
// many elements, then parked sums, then shared ones and how many parts of them have come, then the
// result where it is turned.
int64_t packed_taps(const Problem& product, int slots);  // with those of pairs' planes twice
int64_t packed_weight_bytes(const Description& description, const Config& config);
int64_t packed_input_bytes(const Description& description, const Config& config);
int64_t parked_bytes(const Config& config, const Device& device);
int64_t joined_bytes(const Config& config);
int64_t arrived_bytes(const Config& config);
int64_t turned_bytes(const Description& description, const Config& config);
int64_t packed_channels(const Description& description);

}  // namespace convt3d::cuda::halo_gemm
