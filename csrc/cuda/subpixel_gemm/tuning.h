// SPDX-License-Identifier: BSD-3-Clause
// Numbers of subpixel_gemm: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::subpixel_gemm {

inline constexpr int kWarps = 8;
inline constexpr int kThreads = 32 * kWarps;
// Positions of a tile: one a lane where they are loaded, two m16 tiles where they are multiplied.
inline constexpr int kTileRows = 32;
// Columns of a block: 16 of each warp, kMaxPairs times. Limit: registers of two blocks on an SM.
inline constexpr int kMaxPairs = 2;
inline constexpr int kMaxColumns = 16 * kMaxPairs * kWarps;
// Limit: registers, and shared memory of so many blocks on an SM of 228 KB, each with 1 KB of the
// system's.
constexpr int blocks_per_sm(Precision precision) { return precision == Precision::fp32 ? 2 : 3; }
constexpr int64_t shared_of_block(int blocks) { return (228 / blocks - 2) * 1024; }
// Limit: of a block (CUDA C++ Programming Guide, technical specifications).
constexpr int64_t shared_limit(int arch) {
  if (arch == 80 || arch == 87) return 163 * 1024;
  return arch >= 90 && arch < 120 ? 227 * 1024 : 99 * 1024;
}

// grad_weight: columns of a unit, units of a warp (registers), and tiles that tensor cores add up
// before float32 does, two instructions each: see sm90/chain.h.
inline constexpr int kUnitColumns = 64;
inline constexpr int kMaxUnits = 2;
inline constexpr int kMaxSumTiles = 100;

// Forward by units: warps of a block, alone on its SM, and n8 tiles of a unit. Limit: registers.
inline constexpr int kUnitWarps = 12;
inline constexpr int kUnitThreads = 32 * kUnitWarps;
inline constexpr int kUnitTiles = 8;
// For the choice among units, by rule of thumb: clocks of a warp for a step of a tile, a tile's
// outputs, a step's inputs, and a unit.
constexpr double unit_step_clocks(int element) { return element == 2 ? 8 : 40; }
inline constexpr double kUnitTileClocks = 50;
inline constexpr double kUnitLoadClocks = 30;
inline constexpr double kUnitClocks = 150;

// Bound of the gradients' workspace, in floats.
inline constexpr int64_t kMaxParts = int64_t{64} << 20;

// Limit: numbers of taps that share a word; and 16-bit places in a tile of the output.
inline constexpr int64_t kMaxAxisTaps = 64;
inline constexpr int64_t kMaxStride = 256;
inline constexpr int64_t kMaxDepth = 1024;
inline constexpr int kMaxCount = 1 << 30;

// Fewer residues are few_channels': 0.09 ms against 0.78 for 64 depthwise channels, k4 s2, bf16.
inline constexpr int64_t kMinResidues = 27;

// For the choice among chunks: clocks of an SM for a tile, for each row of depth that it loads,
// 16 columns by 32 bytes of depth, and a column stored; for a chunk's start, and for each of its
// weights.
inline constexpr double kTileClocks = 300;
inline constexpr double kDepthClocks = 3.2;
constexpr double step_clocks(Direction direction, int64_t element) {
  if (direction == Direction::grad_input) return element == 2 ? 16 : 28;
  return element == 2 ? 8 : 20;
}
inline constexpr double kStoreClocks16 = 3.5, kStoreClocks32 = 5;
inline constexpr double kChunkClocks = 4000;
inline constexpr double kWeightClocks = 0.1;

// For the choice of splits, where waits count: clocks of a block for a tile, a row of depth, and a
// step of 32 bytes of depth, of 16 bits.
inline constexpr double kTileWait = 2500;
inline constexpr double kDepthWait = 10;
inline constexpr double kStepWait = 70;

// grad_input: products of a sum, and positions of grad_output, for which few_channels is faster.
// Measured: in 32 random problems 2.4 times (H200, 2026-11-22).
inline constexpr int64_t kShortSum = 160, kLongSum = 1544, kManyRead = 815000;

// float32, forward: 4 products of a sum are 0.9e-7 off, torch's 0.4e-7.
inline constexpr int64_t kMinFloatSum = 8;

// Microseconds of a call, with `estimate` of those clocks; measured on an H200, 15 problems of
// strides 3 to 64 in all directions.
constexpr double expected_us(Direction direction, int64_t element, double estimate) {
  if (direction == Direction::forward) return 12 + (element == 2 ? 2.2 : 2.7) * estimate;
  return 22 + (direction == Direction::grad_input ? 4.2 : 3.4) * estimate;
}

// The same for few_channels and direct, with `outputs` and useful `products` in millions; measured
// with them.
constexpr double others_us(Direction direction, bool depthwise, int64_t taps, double outputs,
                           double products) {
  if (direction == Direction::forward) return 9 + 7 * outputs + products / 1.2;
  if (direction == Direction::grad_weight) return 10 + products / (depthwise ? 2 : 3);
  if (taps >= 1024) return 15 + products / (depthwise ? 1.3 : 2.6);
  return 15 + products / (depthwise ? 1.2 : 0.4);
}
inline constexpr double kClocksPerUs = 1700;

}  // namespace convt3d::cuda::subpixel_gemm
