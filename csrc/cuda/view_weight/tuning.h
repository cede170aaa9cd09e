// SPDX-License-Identifier: BSD-3-Clause
// Numbers of view_weight, each with where it comes from.
#pragma once
#include <cstdint>

#include "cuda/sm90/shared_bytes.h"
#include "plan/description.h"

namespace convt3d::cuda::view_weight {

inline constexpr int kElementBytes = 4;
inline constexpr int kStepPositions = 8;  // of an instruction
inline constexpr int kUnitRows = 64;      // of sums, of an instruction
inline constexpr int kWarpgroups = 2, kThreads = (kWarpgroups + 1) * 128;
// Limit: registers, 64 K of an SM.
inline constexpr int kConsumerRegisters = 216, kProducerRegisters = 72;
inline constexpr int kColumnsBuilt[] = {32, 48, 64, 128};
// Units of a warpgroup. Limit: registers; float32 has the sums of 16 positions beside those of all.
constexpr int most_units(Precision precision, int columns) {
  return precision == Precision::fp32 && columns == 128 ? 1 : 2;
}
// Neighbouring taps of a line whose units a warpgroup multiplies together. Limit: registers.
inline constexpr int kRunPositions = 8;  // of a thread
constexpr bool has_runs(Precision precision, int columns, int taps) {
  if (precision == Precision::fp32) return columns == 32 && taps == 3;
  return columns == 32 ? taps == 3 || taps == 5 || taps == 7 : columns <= 64 && taps == 3;
}
// Limit: the kernel's parameters hold a table of lanes.
inline constexpr int kMaxLanes = 512;
// Limit: one lane of a warp issues each box of a stage.
inline constexpr int kMaxBoxes = 32;
inline constexpr int kMaxSpan = 256;  // of a box: limit of TMA
inline constexpr int kSwizzleAlign = 1024;
inline constexpr int64_t kMapAlign = 256;
using sm90::kSharedBytes;
inline constexpr int kMinStages = 2, kMaxStages = 6;
// Boxes of input that wait to be turned around, and the warps that do so.
inline constexpr int kRawBoxes = 2, kTurningWarps = 3, kRawWidth = 32;
constexpr int raw_parts(int columns) { return (columns + kRawWidth - 1) / kRawWidth; }
inline constexpr int kBarrierBytes = 16 * (kMaxStages + kRawBoxes);
// Positions of a stage: more leave no room for stages.
inline constexpr int64_t kMaxPositions = 256;
inline constexpr int kMaxCuts = 8;  // ways to cut an axis that are looked at
// Limit: work is counted in 32 bits.
inline constexpr int64_t kMaxWork = int64_t{1} << 30;
// Bound of the packed input: what a large layer's tensors take themselves.
inline constexpr int64_t kMaxPackedBytes = int64_t{4} << 30;
// float32: the sums of a box's chunks are added one by one, and their rounding errors with them: so
// many additions are 3e-7 of the result.
inline constexpr int kMaxAdditions = 512;
// float32: sums of fewer products have a smaller error one by one (see tap_gemm).
inline constexpr int64_t kMinSum = 64, kFewOut = 8, kMinFewSum = 256;
// Below, most columns would be padding.
inline constexpr int64_t kMinColumns = 9;

// NCDHW: elements of grad_output, products of each, and the part of a block's rows that count, from
// which turning all of grad_output into rows pays. Measured against tap_gemm: 1.05 to 1.6 times as
// fast from 750 products on (256 where the tensors stay in L2, 108 where lines are odd), 0.4 to 0.9
// times below.
inline constexpr double kLeastElements = 4e5, kLeastRows = 0.7, kLeastFullRows = 0.75;
// The same of runs of more than 32 in_channels.
inline constexpr double kLeastRunRows = 0.6;
inline constexpr double kLeastProducts = 500, kLeastKeptProducts = 256, kLeastOddProducts = 100;

// Estimates for the choice, in clocks of an SM.
inline constexpr double kRowClocks = 5;        // of a row or line of 128 bytes from L2
inline constexpr double kHalfRowClocks = 4.1;  // of 64
inline constexpr double kConflicts = 1.15;     // of gathering A
// Measured: of a turning warp's eight places of 32 lines.
inline constexpr double kTurnClocks = 320;
inline constexpr double kStageClocks = 300;         // barriers, first gather and drain of a stage
inline constexpr double kIssueClocks = 4;           // of a wgmma, beside its products
inline constexpr double kSplitClocks = 14;          // float32: of a step's A, and
inline constexpr double kExposed = 0.4;             // the part of it and of additions that is seen
inline constexpr double kPackBytesPerClock = 1700;  // of the device
inline constexpr double kPackClocks = 2500;         // of its launch
inline constexpr double kStartClocks = 6000;
// Bytes of input and grad_output together, that stay in L2 while all jobs read them (of 50 MB).
inline constexpr double kKeptBytes = 45e6;

}  // namespace convt3d::cuda::view_weight
