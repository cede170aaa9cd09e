// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call. Plain C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/halo_weight/fold.h"
#include "cuda/halo_weight/tuning.h"
#include "geometry/ceil_div.h"
#include "plan/description.h"

namespace convt3d::cuda::halo_weight {

struct Config {
  int channels = 0, units = 0;  // in_channels of an instruction; instructions of a warpgroup
  int warpgroups = 0;
  // Channels of a row in shared memory: 64, 32 or 16; of lines, the positions of one.
  int in_width = 0, out_width = 0;
  bool lines = false;  // input as NCDHW has it: a row is positions of a channel
  int in_parts = 0;    // of in_width, that make up `channels`
  // Whether the taps of a residue share one halo along the axis, or have boxes of their own.
  std::array<bool, 3> shares{};
  std::array<int, 4> box{};           // input positions of a stage: batch, d, h, w
  std::array<int, 3> halo{};          // positions of grad_output beyond it
  int flat = 0;                       // axes, from w on, along which rows of both operands run on
  std::array<int, 4> input_box{};     // as loaded: with zeros behind, where flat
  int input_rows = 0, view_rows = 0;  // of a part, and of a view, in shared memory
  int max_views = 0;                  // of a job
  int stages = 0, stage_bytes = 0, chain = 0;  // chain: boxes added in one accumulator
  int unit_jobs = 0, in_tiles = 0;
  std::array<int64_t, 4> tiles{};  // boxes on each axis
  int64_t all_tiles = 0;
  int blocks = 0;
  bool apart = false;   // each job has as many blocks, which all jobs cut at the same positions
  bool direct = false;  // each block stores one job's sums into the weight
  bool turned = false;  // or as [in_channel][tap][out_channel], which a launch turns
  bool packed_input = false, packed_output = false;
  double clocks = 0;
  Line line;  // launch() sets it
};

// The layer whose sums are computed (fold.h).
Description fold_of(const Description& description, const Device& device);

// Whether a tensor has to be turned into rows of channels that TMA can address.
inline bool needs_packing(Layout layout, int64_t channels) {
  return layout != Layout::ndhwc || channels * kElementBytes % 16 != 0;
}

// Kernels for lines of input: other columns are chosen for small layers or very many channels.
constexpr bool columns_of_lines(const Columns& columns) {
  return columns.channels > 16 && columns.channels <= 128;
}
// Whether TMA can address the lines of input as they lie.
inline bool has_lines(const Description& description) {
  return description.input == Layout::ncdhw &&
         description.problem.input[2] * kElementBytes % 16 == 0;
}

// Clocks of the launch that turns input into rows of channels, where it is none.
inline double pack_clocks(const Description& description) {
  const Problem& p = description.problem;
  if (!needs_packing(description.input, p.in_channels)) return 0;
  return 2.0 * static_cast<double>(p.batch * volume(p.input) * p.in_channels * kElementBytes) /
         kMemoryBytesPerClock;
}

// Without a cut that fits, the result has no units.
Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);

// Sums that a block puts into the workspace at once.
inline int64_t piece_elements(const Config& c) {
  return int64_t{c.warpgroups} * c.units * 64 * c.channels;
}
inline int64_t pieces(const Config& c) {
  const int64_t jobs = int64_t{c.unit_jobs} * c.in_tiles;
  if (c.direct) return c.chain < c.all_tiles ? jobs : 0;
  return c.blocks + jobs - 1;
}
// The workspace: pieces, then the packed input, then the packed grad_output.
inline constexpr int64_t kMapAlign = 256;  // of packed tensors; TMA wants 16

template <typename AnyConfig>
int64_t pieces_bytes(const AnyConfig& c) {
  const int64_t bytes = pieces(c) * piece_elements(c) * int64_t{sizeof(float)};
  return ceil_div(bytes, kMapAlign) * kMapAlign;
}

inline int64_t packed_bytes(int64_t positions, int64_t channels) {
  constexpr int64_t kVector = 16 / kElementBytes;
  const int64_t bytes = positions * ceil_div(channels, kVector) * kVector * kElementBytes;
  return ceil_div(bytes, kMapAlign) * kMapAlign;
}

template <typename AnyConfig>
int64_t packed_input_bytes(const Description& description, const AnyConfig& c) {
  const Problem& p = description.problem;
  return c.packed_input ? packed_bytes(p.batch * volume(p.input), p.in_channels) : 0;
}

template <typename AnyConfig>
int64_t packed_output_bytes(const Description& description, const AnyConfig& c) {
  const Problem& p = description.problem;
  return c.packed_output ? packed_bytes(p.batch * volume(p.output()), p.out_channels) : 0;
}

}  // namespace convt3d::cuda::halo_weight
