// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the line_weight family: "limit" says which, "estimate" serves the choice of a cut.
#pragma once
#include <cstdint>

namespace convt3d::cuda::line_weight {

inline constexpr int kArch = 90;  // limit: wgmma
inline constexpr int kConsumerThreads = 256, kProducerThreads = 128;
inline constexpr int kThreads = kConsumerThreads + kProducerThreads;
// Limit: together what the launch gives the three warpgroups, 3 * 168; multiples of 8.
inline constexpr int kProducerRegisters = 72, kConsumerRegisters = 216;
inline constexpr int kPositions = 32;  // of a stage: two instructions
inline constexpr int kColumnBytes = 2 * kPositions;
// Copies that a lane has at work at once: those of 2 bytes wait for their loads.
constexpr int batch_of(int elements) { return elements == 1 ? 16 : 4; }
// Places in the table of so many copies.
constexpr int slots_of(int copies, int elements) {
  const int whole = 32 * batch_of(elements);
  return (copies + whole - 1) / whole * whole;
}
inline constexpr int kSlotBytes = 12;  // of a copy, in the tables
inline constexpr int kWordElements = 2, kMaxOddLines = 128;
inline constexpr int kMaxElements = 8;  // of a copy of 16 bytes
inline constexpr int kLineAlign = 8;    // elements: a line starts on 16 bytes in shared memory
inline constexpr int kZeros = 16;       // elements behind the lines, for positions that are none
inline constexpr int kStageAlign = 1024;
inline constexpr int kMinStages = 2, kMaxStages = 8;
// Limit: 227 KB, less the barriers and the alignment of the stages.
inline constexpr int64_t kMaxShared = 227 * 1024 - 2 * 1024;
// Limits: coordinates of a copy in bits, and 32-bit offsets in a sample.
inline constexpr int kBitsH = 11, kBitsW = 10;
inline constexpr int64_t kMaxReach = 512;
inline constexpr int64_t kMaxSample = int64_t{1} << 30, kMaxExtent = int64_t{1} << 24;
inline constexpr int64_t kMaxWork = int64_t{1} << 30;

// Instructions that add to one accumulator: as halo_weight has them.
inline constexpr int64_t kMinChain = 160, kMaxChain = 2048, kChainRoots = 3;

inline constexpr int64_t kMaxPartialBytes = int64_t{64} << 20;
// Below, most of an instruction's positions would be zeros.
inline constexpr double kLeastFull = 0.4;

// Measured: 3 or 8 blocks of a cluster, or 120 in all, do not find their places at once.
inline constexpr int64_t kMaxCluster = 4, kMaxClustered = 112, kTunedSms = 132;

// halo_weight has no fewer channels on a side, and not few on one with few pairs of them.
inline constexpr int64_t kFewest = 5, kFew = 8, kFewPairs = 256;
// Below, most columns would be zeros.
inline constexpr int64_t kMinColumns = 16;

// Estimates in clocks of an SM, from the layers of docs/kernels/line_weight.md.
inline constexpr double kLoadBytesPerClock = 28;      // from L2
inline constexpr double kMemoryBytesPerClock = 2300;  // of the device
inline constexpr double kCopyClocks = 20;             // of 32 copies of 16 bytes
inline constexpr double kSmallCopyClocks = 32;        // and of 32 smaller ones
inline constexpr double kTileClocks = 550;            // barriers, A's words, and a stage's drain
inline constexpr double kStartClocks = 9000, kReduceClocks = 5000, kClusterClocks = 3000;
inline constexpr double kReduceBytesPerClock = 1500;  // of the device: write and read
// Of halo_weight: three launches more, and multiplications in a clock of an SM.
inline constexpr double kRowStartClocks = 40000, kRowProducts = 1600;

// Of layers with two taps, us on an H200, fitted to what was measured (cold L2, NCDHW, bfloat16 and
// TF32; before them the family that has the layer otherwise, line_weight's own lines or tap_gemm):
//   32->128 k1x2x2 in 14x86x86   74, 96 / 61, 93     64->64 k2 in 8x100x100  55, 97 / 52, 76
//   64->32 k2 in 2x64^3        115, 191 / 109, 179   128->64 k2 in 2x32^3           60, 79
// A start; a megabyte of both tensors, and of what blocks read of them from L2; of the others a
// start and a megabyte, of lines that are no multiples of 16 bytes too.
inline constexpr double kPickStart = 30, kPickMegabyte = 0.15, kPickReadMegabyte = 0.055;
inline constexpr double kLineStart = 33, kLineMegabyte = 0.243, kShortCopyMegabyte = 0.366;
inline constexpr double kTapStart = 63, kTapMegabyte = 0.18;
inline constexpr double kPickAdvantage = 0.9;

}  // namespace convt3d::cuda::line_weight
