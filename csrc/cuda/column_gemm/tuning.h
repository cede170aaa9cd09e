// SPDX-License-Identifier: BSD-3-Clause
// Numbers of column_gemm, each with where it comes from.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cuda/common/shared_limit.h"
#include "cuda/common/tf32_rate.h"
#include "plan/description.h"

namespace convt3d::cuda::column_gemm {

// Rows of a warp: two tiles of 16, which share the weights that are read.
inline constexpr int kTiles = 2;
inline constexpr int kWarpRows = 16 * kTiles;

// Limit: the 128 registers of a thread, where 16 warps share 64 K.
inline constexpr int kWarps = 16, kThreads = 32 * kWarps, kRows = kWarps * kWarpRows;
inline constexpr int kMaxColumnTiles = 4;
// Measured: with three products a column, more tiles take longer than few_channels' FFMA (0.145 ms
// against 0.122 for 32 -> 2 channels, k3 s2, 4 x 48^3).
inline constexpr int kMaxSplitTiles = 2;
// float32, forward and grad_weight: 2.8 times torch's error with 2 products of a sum, 2.7 with 8
// (H200, 2026-11-22, no file).
inline constexpr int64_t kMinFloatSum = 16;
// Column tiles whose weights are read at once.
inline constexpr int kTilesAtOnce = 2;

// Limit: pairs of shifts on d and h have their masks in the kernel's parameters.
inline constexpr int64_t kMaxShifts = 25;
// They are in static shared memory.
inline constexpr int64_t kStaticBytes = 256;
static_assert(kMaxShifts * 8 <= kStaticBytes);
// Measured: with 8 group_gemm is 1.6 times as fast.
inline constexpr int64_t kMaxOuts = 2;
// Coordinates and counts are 32-bit; sums of two never wrap.
inline constexpr int64_t kMaxExtent = int64_t{1} << 29;
// Measured, bfloat16 in NCDHW: 0.039 ms against 0.022 of few_channels for 32 -> 2 channels, k3 s2,
// 33^3; 0.042 against 0.110 for 256 -> 1, k4 s2, 2 x 4^3.
inline constexpr int64_t kFewPlanes = 64;
// Beyond, subpixel_gemm's.
inline constexpr int64_t kMaxStride = 4;
// Taps of an output on w, at most, of which a thread holds the addresses.
inline constexpr int kMaxTaps = 4;
// Fewer leave most of a step of the product empty.
inline constexpr int64_t kMinIns = 8;
inline constexpr int kMinStages = 2, kMaxStages = 4;
// Parts of a box that take turns in the sums, at most.
inline constexpr int64_t kMaxParts = 4;

// Where three TF32 products take longer than one of float32; no such kernel is built there.
constexpr bool is_refused(Precision precision, int arch) {
  return precision == Precision::fp32 && is_slow_in_tf32(arch);
}

// Forward with all taps as columns. Limit: the registers that the compiler takes for 10.0 and
// later.
constexpr bool is_march_refused(Precision precision, int arch) {
  return is_refused(precision, arch) || (precision == Precision::fp32 && arch >= 100);
}

// For the choice of a box, clocks of an SM: a KB of input staged (L2 gives about 25 bytes a clock),
// a warp's step of one shift, its weights of one column tile, and the start of a box.
inline constexpr double kStageClocks = 40, kStepClocks = 10, kTileClocks = 3, kBoxClocks = 2500;
inline constexpr double kChunkClocks = 300;
// Cells of a box on d or h, at most; cells of w, or bytes of them in forward, which keeps as many
// more positions as taps and alignment may need; and how many cuts of w are looked at.
inline constexpr int64_t kMaxBoxCells = 16, kLongestLine = 512, kLineSlack = 16;
inline constexpr size_t kMostCuts = 8;
// A column of a row through shared memory, there and back.
inline constexpr double kFoldClocks = 0.1;

// Forward with all taps as columns, clocks of an SM: a step of a warp, 32 rows by 32 columns; of a
// fold, a thread's cell and a share of an output; a chunk, a plane.
inline constexpr double kMarchStepClocks = 14, kMarchSplitClocks = 42;
inline constexpr double kJobClocks = 600, kShareClocks = 25;
inline constexpr double kMarchChunkClocks = 250, kPlaneClocks = 800;
// And against the other kernel, in operands of a step that are loaded: a column tile multiplied, an
// operand split in float32, a column folded. Measured: 256 -> 1, k4 s2, bfloat16 in NCDHW, 0.067 ms
// and 0.073, TF32 0.115 and 0.159; 32 -> 1 0.135 and 0.090, 0.166 and 0.137.
inline constexpr double kTileLoads = 1.5, kSplitLoads = 3, kFoldLoads = 0.7;
// Fewer positions are mostly halo. Measured: 256 -> 1, k4 s2, 2 x 16^3, TF32 in NCDHW, 0.039 ms and
// 0.029; 128 -> 1, 2 x 32^3, 0.046 and 0.043.
inline constexpr int64_t kMinMarchPositions = 40000;
// Input that comes from L2, of an SM's share.
inline constexpr double kMarchBytesPerClock = 28;
// Cells of a box on h, at most, and how many cuts of d are looked at.
inline constexpr int64_t kMaxMarchLines = 32;
inline constexpr size_t kMostMarchCuts = 16;

// Gradients. Limit: a warp holds the sums of grad_weight's columns.
inline constexpr int64_t kMaxColumns = 64;
// Measured, float32: three TF32 products leave 2.06 times torch's error where a sum has 8 products.
inline constexpr int64_t kMinSplitColumns = 48;
// Measured, float32, few_channels in brackets: 32 -> 1, k4 s2, 32 x 32^3 0.195 ms (0.182), 256 ->
// 1, k4 s2, 2 x 16^3 0.024 (0.020); 64 -> 1, k4 s2, 4 x 32^3 0.051 (0.058), 32 -> 2, k3 s2, 4 x
// 48^3 0.089 (0.098), and 2 x 33^3, whose lines are loaded by elements, 0.039 (0.024).
inline constexpr int64_t kMinSplitIns = 64, kMinSplitPositions = 32768;
// Fewer in channels leave half of the product empty.
inline constexpr int64_t kMinInputChannels = 16;
// Of a multiprocessor; and what the system keeps of a block's shared memory.
inline constexpr int kMaxBlocksPerSm = 2;
inline constexpr int64_t kReservedBytes = 1024;
// For the choice of a box, clocks of an SM: a byte of the result, of grad_output, a step of 32 rows
// and 32 channels, the start of a box.
inline constexpr double kResultClocks = 0.06, kOutputClocks = 0.04;
inline constexpr double kColumnClocks = 30, kSplitColumnClocks = 65;

// grad_weight: warps of a block; slices of the in channels, at most; clocks of a step of a warp.
inline constexpr int64_t kWeightWarps = 8, kMaxSlices = 16;
// In channels of a warp, 16 each.
inline constexpr int kChannelTiles = 2, kWeightChannels = 16 * kChannelTiles;
// Measured on 9.0 in NCDHW, 256 -> 1, k4 s2: line_weight needs 0.055 ms in bfloat16 and tap_gemm
// 0.100 in TF32, this family 0.070 and 0.126; for 32 -> 1 it is 0.113 against 0.109, and 0.135
// against 0.176.
inline constexpr int64_t kMaxPlanes = 128;
inline constexpr double kWeightStepClocks = 250;

}  // namespace convt3d::cuda::column_gemm
