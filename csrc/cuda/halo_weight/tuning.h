// SPDX-License-Identifier: BSD-3-Clause
// Numbers of halo_weight, each with where it comes from.
#pragma once
#include <array>
#include <cstdint>

#include "cuda/sm90/shared_bytes.h"

namespace convt3d::cuda::halo_weight {

// Limits: the kernel's parameters (4 KB) hold a table of lanes and views.
inline constexpr int kMaxLanes = 512, kMaxViews = 192, kMaxTaps = 512;
// Limit of TMA's element strides.
inline constexpr int64_t kMaxStride = 8;
inline constexpr int kMaxSpan = 256;  // of a box: limit of TMA
// Limits of 32-bit coordinates; a view's coordinates have 16 bits.
inline constexpr int64_t kMaxExtent = int64_t{1} << 24, kMaxReach = int64_t{1} << 14;
inline constexpr int64_t kMaxChannels = int64_t{1} << 20;
// Limit: work is counted in 32 bits.
inline constexpr int64_t kMaxWork = int64_t{1} << 30;

inline constexpr int kElementBytes = 2;
inline constexpr int kDepth = 16;      // positions of an instruction
inline constexpr int kGroupRows = 64;  // of sums, of an instruction
inline constexpr int kSwizzleAlign = 1024;
// Limit: registers, 64 K of an SM, of which sums are `channels * units / 2` of a consumer's.
constexpr int max_warpgroups(int channels, int units) { return channels * units > 192 ? 2 : 3; }
constexpr int max_threads(int channels, int units) {
  return (max_warpgroups(channels, units) + 1) * 128;
}
constexpr int consumer_registers(int channels, int units) {
  return max_warpgroups(channels, units) == 2 ? 232 : 160;
}
inline constexpr int kProducerRegisters = 24;
// Limit: one lane of a warp issues each box of a stage.
inline constexpr int kMaxBoxes = 32;
using sm90::kSharedBytes;
inline constexpr int kMaxStages = 8, kMinStages = 2;
inline constexpr int kBarrierBytes = 16 * kMaxStages;

// in_channels of an instruction, and how many of them share a warpgroup's registers.
struct Columns {
  int channels, units;
};
inline constexpr std::array<Columns, 18> kBuilt{{{16, 2},
                                                 {16, 5},
                                                 {32, 1},
                                                 {32, 2},
                                                 {32, 4},
                                                 {32, 8},
                                                 {48, 1},
                                                 {48, 3},
                                                 {48, 5},
                                                 {64, 1},
                                                 {64, 2},
                                                 {64, 3},
                                                 {64, 4},
                                                 {128, 1},
                                                 {128, 2},
                                                 {128, 3},
                                                 {192, 1},
                                                 {256, 1}}};

// Part of grad_output's positions that must be met for turning all of it into rows, once those that
// no tap meets are folded away (fold.h). Measured in NCDHW before that: with 1/8 (stride 2,
// dilation 2 or kernel 1) weight_gemm is 1.2 to 1.5 times as fast.
inline constexpr double kLeastRead = 0.5;

// Clocks of the launch that turns a weight (turned.h): measured, 1.3 and 7 MB.
inline constexpr double kTurnClocks = 3500, kTurnBytesPerClock = 3500;
inline constexpr int64_t kMostTurned = 65535;  // limit of a grid: in_channels

// Of the layer with positions and taps as channels (fold.h). Measured: 16 -> 8, k3 s2 takes 780 us
// in NCDHW, few_channels 386; in NDHWC, as 16 -> 16, 183 (286); 384 -> 5 is 6 times as fast here.
inline constexpr int64_t kFewChannels = 8, kFewPairs = 256;

// Instructions that add to one accumulator: each truncates by up to 1.75e-8 of the sum (measured),
// and the error rule allows 6e-8 times the root of the products: 3 roots, and always 160.
inline constexpr int64_t kMinChain = 160, kMaxChain = 2048, kChainRoots = 3;

// Pieces of a job from which 4 or 32 threads share a row of them.
inline constexpr int kManyPieces = 6, kVeryManyPieces = 32;

// Of input and grad_output together, that stay in L2 while all jobs read them (of 50 MB).
inline constexpr double kKeptBytes = 40e6;
// Reads of memory where they do not. Measured: 255 against 222 us for 128 -> 64, k3 s2 in 40x80x80.
inline constexpr double kLostReuse = 2;

// Rows of a stage's input: more leave no room for stages.
inline constexpr int64_t kMaxRows = 768;
// Ways to cut an axis that are looked at.
inline constexpr int kMaxCuts = 6;

// Estimates for the choice, in clocks of an SM.
// Of a row that TMA loads, when all SMs load at once. Measured: 3.3 to 4.4 of 64 bytes, 4.8 of 128.
inline constexpr double kRowClocks = 3.2, kRowByteClocks = 0.014;
inline constexpr double kMemoryBytesPerClock = 2300;  // of the device: 4.2 TB/s at 1.8 GHz
inline constexpr double kSharedClocks = 1.1;          // of 128 bytes: the loads write meanwhile
inline constexpr double kIssueClocks = 2;             // of a wgmma, beside its products
inline constexpr double kStageClocks = 200;           // barriers, and the drain of a stage
inline constexpr double kLoneClocks = 400;            // more, where one warpgroup is alone
inline constexpr double kStoreBytesPerClock = 24;     // sums of a piece to the workspace
inline constexpr double kDirectClocks = 0.1;          // of a sum to the weight
inline constexpr double kStartClocks = 5000, kReduceClocks = 5000;
inline constexpr double kReduceBytesPerClock = 1500;  // of the device

}  // namespace convt3d::cuda::halo_weight
