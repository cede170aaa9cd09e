// SPDX-License-Identifier: BSD-3-Clause
// Numbers of paired_kernel.cuh, each with where it comes from.
#pragma once
#include <cstdint>

namespace convt3d::cuda::halo_gemm {

inline constexpr int kPairedRowBytes = 64;   // a position's channels in a stage: the swizzle
inline constexpr int kPairedSteps = 2;       // of 32 bytes
inline constexpr int kPairedBlockRows = 64;  // of weights: M of wgmma
inline constexpr int kPairedBlockBytes = kPairedBlockRows * kPairedRowBytes;
inline constexpr int kPairedGroups = 2;  // consumers
// Limit: 128 sums of a thread. One matrix of both residues, or one of each: columns of a
// warpgroup, which are positions, and output channels.
constexpr int paired_columns(int matrices) { return 256 / matrices; }
constexpr int paired_channels(int matrices) { return 32 * matrices; }
constexpr int paired_positions(int matrices) { return kPairedGroups * paired_columns(matrices); }
// Limits: 64 K registers of an SM, 168 a thread at the start, and multiples of 8; fewer spill.
inline constexpr int kPairedThreads = (kPairedGroups + 1) * 128;
inline constexpr int kPairedConsumerRegisters = 216, kPairedProducerRegisters = 72;
inline constexpr int kPairedMaxStages = 6, kPairedMinStages = 2;
// Of a warpgroup: where each two positions are, and a word of each warp (paired_store.cuh).
inline constexpr int kPairedPlaces = 128, kPairedPlaceBytes = 8;
constexpr int paired_table_bytes() {
  return kPairedGroups * (kPairedPlaces * kPairedPlaceBytes + 4 * 4);
}
inline constexpr int kPairedBarrierBytes = 16 * kPairedMaxStages;
// Limit: tables of taps in the kernel that packs weights.
inline constexpr int kPairedMaxKernel = 16;
// Two positions of a lane are neighbours of a line.
inline constexpr int kPairedMinPitch = 8;
// Output channels over those that there are, with one matrix and two. Estimates.
inline constexpr double kPairedPadding[2] = {1.5, 1.25};
// Of a wgmma beside its products, and of an item beside its products and its outputs. Estimates.
inline constexpr double kPairedIssueClocks = 4, kPairedItemClocks = 800;
// Four outputs of a lane: instructions, and those of a clock and SM.
// Where lines are not whole pieces, more.
inline constexpr double kPairedStoreInstructions = 12, kPairedShiftInstructions = 60;
inline constexpr double kPairedInstructionsPerClock = 2.4;
// Measured: 384 -> 64 k3 s2 on 4 x 6^3, which has 24 items, takes 49 instead of 25 us in bfloat16.
inline constexpr int64_t kPairedItems = 2;  // of an SM, at least
// Of an output, at least. Measured: 56 -> 28 k4 s2, which has 448, takes 218 instead of 318 us.
inline constexpr int64_t kPairedProducts = 256;

}  // namespace convt3d::cuda::halo_gemm
