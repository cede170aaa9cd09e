// SPDX-License-Identifier: BSD-3-Clause
// Input as lines of NCDHW in shared memory (lines_in.cuh).
#pragma once
#include <cstdint>

namespace convt3d::cuda::halo_gemm {

// Limit: a box of TMA begins at a multiple of 16 bytes, else it ends in an illegal instruction.
inline constexpr int kBoxWords = 4;

// Words from a channel of a line to the next: eight positions of four channels, which a warp loads
// at once, lie in different banks. `reach`: what the taps of a line read.
constexpr int line_width(int reach) {
  const int words = reach + kBoxWords - 1, rest = words % 32;
  return words - rest + (rest <= 8 ? 8 : rest <= 24 ? 24 : 40);
}

// Steps of a chunk: with more a thread holds more of A, which spills with 192 columns. Measured:
// 3 instead of 2 steps take 0.95 times as long with 72 and 144 columns.
inline constexpr int kLinesInSteps = 2;
// Fewer are half of a chunk.
inline constexpr int64_t kFewLinesIn = 8;
// Limit: registers of a consumer.
constexpr bool has_lines_in(int slots, int channels) { return slots > 1 || channels <= 96; }

// Clocks over its estimate that this needs, compared with packed rows, but with so many columns.
// Measured: a wgmma of 48 columns takes 59 clocks, of 72 as many, of 144 97, of 192 101.
inline constexpr double kLinesInClocks = 1.38;
inline constexpr int kWideLinesIn = 192;

}  // namespace convt3d::cuda::halo_gemm
