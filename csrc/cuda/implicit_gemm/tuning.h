// SPDX-License-Identifier: BSD-3-Clause
// Numbers of implicit_gemm, each with where it comes from.
#pragma once
#include <array>
#include <cstdint>

#include "cuda/sm90/shared_bytes.h"
#include "plan/description.h"

namespace convt3d::cuda::implicit_gemm {

// Limit: the kernel's parameters hold a table of residues per axis.
inline constexpr int kMaxStride = 8;
// Limits of 32-bit coordinates, products of a few of them included.
inline constexpr int64_t kMaxExtent = int64_t{1} << 24, kMaxChannels = int64_t{1} << 20;
// Limit: the table of taps in shared memory.
inline constexpr int64_t kMaxTaps = 1024;
// Below, most of a step's 8 or 16 channels, or of a tile's 16 columns, are padding: that pays where
// sums are long. Fitted to the times of 10,083 random problems in all families that take them
// (H200, 2026-11-22, no file): these rules and those of the other families left 10 % over the
// fastest family's time (21 % before).
inline constexpr int kMinChannels = 8;
// forward: as few_channels, many channels become few; as direct, anything but very few.
inline constexpr int64_t kFewForwardIns = 33, kFewIns = 5, kFewResidues = 40;
// Or very few that become many, of many positions: half of direct's time, 24 of those problems.
inline constexpr int64_t kManyOuts = 12, kManyPositions = 4096;
// grad_input: out channels times taps, and taps where only direct is left.
inline constexpr int64_t kFewSum = 368, kFewTaps = 19;
// float32: the split parts of a number hold less of it than a product's one rounding does, which
// longer sums hide (cuda/group_gemm/tuning.h): 48 -> 8, k1, grad_input, 1.2e-7 against torch's
// 0.5e-7.
inline constexpr int64_t kMinFloatSum = 16, kMinFewFloatSum = 96;
// Results of subpixel_gemm: positions with taps or in channels, FLOPs with products of a sum.
inline constexpr int64_t kSmallResult = 107000, kSmallResultTaps = 45, kSmallResultIns = 36;
inline constexpr int64_t kSmallGradInputSum = 276;
inline constexpr double kSmallGradInput = 234e6;
// Groups of so few channels in the result, where half of a tile's columns are padding, need taps.
// Measured on an H200, 4 groups of 8 channels: 105 taps take 271 us against 456 (`direct`), 27 with
// stride 2 1677 against 870 (`few_channels`).
// As many are the most for which 16-bit grad_input of 8 -> 16 channels is left to few_channels: 16
// of 4 x 96 x 64 x 80, k3 s2, 0.28 ms against 0.65 (NCDHW, bfloat16, H200).
inline constexpr int kMinGroupTaps = 64;

// Rows of a tile: two consumer warpgroups of two m64 tiles each; fp32 has one each, as it sums
// twice. Limit: 128 accumulators a thread.
inline constexpr int kTileRows = 256;
inline constexpr std::array<int, 6> kColumns{16, 32, 48, 64, 96, 128};
// Of 32 bytes of channels. Limit: four hold 32 registers of A.
inline constexpr int kMaxSteps = 4;
// 128 columns of 16-bit products with more steps spill a register.
constexpr bool is_built(int columns, int steps) { return columns < 128 || steps <= 2; }
// Whether long sums may be parked (cuda/sm90/parked_sums.cuh); others spill, or in float32 take 18
// % longer for it (512 -> 512, k3).
constexpr bool can_park(Precision precision, int columns, int steps) {
  if (precision == Precision::fp32) return columns <= 64;
  return columns < 128 && !(columns == 48 && steps == 3);
}
// float32: additions to one sum, whose roundings walk: 2401 one after another are 9.0e-7 off, torch
// 3.5e-7 (200 -> 40, k7); 432 of them 3.6e-7, torch 4.2e-7 (512 -> 64, k3). H200.
inline constexpr int kMaxAdditions = 1024;

using sm90::kSharedBytes;
// Limits: bits of a halo's coordinates (tables.cuh), over {batch, d, h, w}.
inline constexpr std::array<int, 4> kMaxHalo{32, 128, 256, 256};
inline constexpr int kMaxInputStages = 8, kMinWeightStages = 2, kMaxWeightStages = 8;
// Bytes of a weight stage, where blocks are small: enough that its barriers do not show.
inline constexpr int64_t kWeightStageBytes = 16 * 1024;

inline constexpr int kStageAlignment = 128;  // whole lines of shared memory

// Bytes of the barriers and tables beside the stages (tables.cuh), each rounded up to 8.
constexpr int64_t table_bytes(int64_t halo_rows, int64_t rows, int64_t taps) {
  return 16 * (kMaxInputStages + kMaxWeightStages) + 12 * (halo_rows + rows) + 4 * (taps + 1) +
         3 * 8 + kStageAlignment;
}

// Estimates for the choice between boxes, in clocks of an SM.
inline constexpr double kInputBytesPerClock = 12;    // the producers' own pace
inline constexpr double kGatherBytesPerClock = 7;    // the same, element by element
inline constexpr double kOutputBytesPerClock = 20;   // 4.7 TB/s over 132 SMs at 1.7 GHz
inline constexpr double kScatterBytesPerClock = 10;  // the same, element by element
inline constexpr double kSharedBytesPerClock = 128;  // limit
inline constexpr double kStepClocks = 8;             // of a 64-row step, beside its wgmma
inline constexpr double kBlockClocks = 60;           // a step's start and end
inline constexpr double kTileClocks = 1000;          // a tile's start and end
// A halo's start and end, of which grad_input has one per residue and chunk: for the producers (its
// addresses) and for the consumers (their first step).
inline constexpr double kHaloFillClocks = 600, kHaloReadClocks = 200;
// Ways to cut an axis that are looked at.
inline constexpr int64_t kMaxCuts = 10;

}  // namespace convt3d::cuda::implicit_gemm
