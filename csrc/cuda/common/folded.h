// SPDX-License-Identifier: BSD-3-Clause
// Calls of few positions and many taps whose forward few_channels computes on the tensor cores, and
// which subpixel_gemm leaves to it.
#pragma once
#include <algorithm>
#include <cstdint>

#include "cuda/common/kept_answer.h"
#include "cuda/common/resident.h"
#include "cuda/common/shared_limit.h"
#include "cuda/common/tf32_rate.h"
#include "geometry/ceil_div.h"
#include "plan/description.h"

namespace convt3d::cuda {

// Limit: two blocks on an SM of 228 KB, each with 1 KB of the system's.
inline constexpr int64_t kFoldedBlocksPerSm = 2, kFoldedWantedBytes = 113 * 1024;
// Limit: a plan walks over all pairs of residues of d and h.
inline constexpr int64_t kFoldedPairs = 4096;
// Measured, float32, against `resident` of direct: with 8 in channels 21 us instead of 19 (k9 s8,
// 5^3), with 16 17 instead of 21 (k7 s5, 4 x 3^3); with one block on an SM 37 instead of 35 (48 ->
// 1, k32 s16, 2 x 4^3).
inline constexpr int64_t kFoldedMinIns = 16;
// Rows of positions, columns of taps and bytes of depth that are multiplied at once.
inline constexpr int64_t kFoldedRows = 16, kFoldedColumns = 8, kFoldedDepth = 64;

// How forward is cut into blocks: each takes an out channel and every blocks-th pair of residues of
// d and h, one after the other, with the weights of all of them in shared memory from the start.
struct FoldedConfig {
  int64_t blocks = 0;  // of an out channel; 0: it does not fit
  int64_t rows;        // of positions, padded
  int64_t tap_rows;    // of weights: taps of a block's pairs, at most
  int64_t pitch;       // bytes of a row: in channels, padded, and 16 for the banks
  int64_t columns;     // floats of a row of products: taps of a pair, padded, at most
  int64_t lines;       // of output of a pair, at most: batch x cells of d and h
  int64_t shared;      // bytes
};

// Taps on d and h that meet in a pair of residues.
inline int64_t folded_lines(const Problem& p, int64_t pair) {
  const int64_t d = pair / p.stride[1], h = pair % p.stride[1];
  return (ceil_div(p.kernel[0] - d + p.stride[0], p.stride[0]) - 1) *
         (ceil_div(p.kernel[1] - h + p.stride[1], p.stride[1]) - 1);
}

inline FoldedConfig search_folded(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t pairs = p.stride[0] * p.stride[1];
  const int64_t depth = p.in_channels_per_group() * element_bytes(description.precision);
  FoldedConfig config{};
  config.rows = round_up(p.batch * volume(p.input), kFoldedRows);
  config.pitch = round_up(depth, kFoldedDepth) + 16;
  // An odd number of tiles: rows that a warp writes at once lie in banks of their own.
  config.columns =
      (ceil_div(std::max<int64_t>(folded_lines(p, 0), 1) * p.kernel[2], kFoldedColumns) | 1) *
      kFoldedColumns;
  const Extent3 output = p.output();
  config.lines = p.batch * ceil_div(output[0], p.stride[0]) * ceil_div(output[1], p.stride[1]);
  int64_t blocks =
      std::clamp<int64_t>(kFoldedBlocksPerSm * device.num_sms / p.out_channels, 1, pairs);
  if (blocks > 1 && blocks % p.stride[1] == 0) --blocks;  // else one block has all long pairs of h
  for (; blocks <= pairs; ++blocks) {
    int64_t most = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t lines = 0;
      for (int64_t pair = block; pair < pairs; pair += blocks) lines += folded_lines(p, pair);
      most = std::max(most, lines);
    }
    config.tap_rows = most * p.kernel[2] + kFoldedColumns;
    config.shared = (config.rows + config.tap_rows) * config.pitch +
                    config.rows * (config.columns * 4 + 8) + config.lines * 16 + (most + 1) * 8;
    const int64_t limit = shared_bytes(device.arch);
    if (config.shared <= (blocks == pairs ? limit : std::min(kFoldedWantedBytes, limit))) {
      config.blocks = blocks;
      break;
    }
    blocks = std::max(blocks, std::min(pairs - 1, blocks * 5 / 4));
  }
  return config;
}

inline FoldedConfig choose_folded(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search_folded(description, device); });
}

inline bool is_folded_forward(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.direction != Direction::forward || description.precision == Precision::fp64 ||
      device.arch < 80) {
    return false;
  }
  if (element_bytes(description.precision) == 4 && is_slow_in_tf32(device.arch)) return false;
  if (!has_long_strides(p) || p.in_channels_per_group() < kFoldedMinIns ||
      p.out_channels_per_group() > kResidentMaxOuts ||
      p.batch * volume(p.input) > kResidentPositions || p.stride[0] * p.stride[1] > kFoldedPairs ||
      useful_flops(p) / 2 > kResidentProducts) {
    return false;
  }
  const FoldedConfig config = choose_folded(description, device);
  const bool alone = config.shared > kFoldedWantedBytes;
  return config.blocks > 0 && !(alone && is_resident_forward(description));
}

}  // namespace convt3d::cuda
