// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for one call. Plain C++: the planner is built without CUDA.
//
// On d and h a cell q holds the outputs s*q + r - p of all residues r, and reads the inputs q - j
// of its shifts j = 0 .. through the taps s*j + r. On w a cell c holds the outputs s*c + e.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/column_gemm/tuning.h"
#include "plan/description.h"

namespace convt3d::cuda::column_gemm {

struct Config {
  std::array<int, 3> cells;  // of a box
  std::array<int, 3> tiles;  // boxes along each axis
  int column_tiles;          // of 8 columns; an instance has 2 or 4
  int block_columns;         // of one residue of d and h: taps on w times out channels, and padding
  int steps, chunks;         // 32 bytes of channels each; steps of a chunk
  int stages;
  int line_rows;          // positions of a line that are kept
  int part_lines, parts;  // lines of the box whose sums are kept at once
  bool rows;              // input: a position's channels are contiguous
  int64_t shared;         // bytes; 0: nothing fits
};

// Channels of a step.
constexpr int step_channels(Precision precision) {
  return precision == Precision::fp16 || precision == Precision::bf16 ? 16 : 8;
}
constexpr int instance_tiles(int column_tiles) { return column_tiles <= 2 ? 2 : 4; }
constexpr int shifts(int64_t kernel, int64_t stride) {
  return static_cast<int>((kernel + stride - 1) / stride);
}
// Bytes from a position's channels to the next one's (rows), or from a channel's positions to the
// next one's: the addresses that eight lanes read at once are in different banks.
constexpr int64_t row_pitch(int steps) { return steps * 32 + 16; }
constexpr int64_t plane_pitch(int64_t positions, int64_t element_bytes) {
  const int64_t wanted = element_bytes == 2 ? 16 : 32;
  return (positions * element_bytes + 127 - wanted) / 128 * 128 + wanted;
}
// Floats from a column of sums to the next: lanes of a quad are 8 banks apart.
inline constexpr int kSumPitch = kRows + 4;

Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);

}  // namespace convt3d::cuda::column_gemm
