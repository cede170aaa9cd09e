// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the lane_sums family: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

namespace convt3d::cuda::lane_sums {

inline constexpr int kThreads = 128;
// Channels of a tile. Limit: registers, as kSteps of a lane are loaded at once.
inline constexpr int kMaxTile = 8;
// A lane has so many before it shares its sum: sharing costs as much as they do.
inline constexpr int kSteps = 4;
inline constexpr int64_t kThreadsPerSm = 2048;

// Limits: coordinates and counts are 32-bit, sums of two never wrap.
inline constexpr int64_t kMaxExtent = int64_t{1} << 29;
inline constexpr double kMaxProducts = 0x1p16, kMaxResults = 0x1p30;

// Microseconds on an H200 with a cold L2, fitted to 872 random problems (2026-11-22, no file), half
// of which took 0.92 to 1.1 times as long: a launch and its end; kSteps of a lane; a thousand
// warps, and a thousand steps of theirs, with one channel and each further one.
inline constexpr double kLaunchUs = 5.1, kStepsUs = 1.6, kWarpsUs = 0.45;
inline constexpr double kWarpStepsUs = 0.065, kWarpChannelsUs = 0.018;
// The same where each lane's load or store is a sector of its own, of the slowest of them: with
// the numbers above they took up to 4 times as long as expected.
inline constexpr double kScatteredWarpsUs = 4.3, kScatteredChannelsUs = 0.14;
inline constexpr int64_t kManyChannels = 64;
inline constexpr double kFittedSms = 132;
// Up to which the others were slower in the mean, 16,306 random problems (H200, no file): all;
// blocks that do not overlap, for which shuffle_gemm has one launch, too; forward and grad_input
// with so many residues, and grad_input with more of them.
inline constexpr double kMostUs = 16, kMostShuffledUs = 10;
inline constexpr int64_t kManyResidues = 27, kVeryManyResidues = 45;
inline constexpr double kMostResiduesUs = 25, kMostGradInputUs = 40;
// forward with long strides, at most so many out channels a group: as fast in direct, 190 of them.
inline constexpr int64_t kDirectOuts = 8;

}  // namespace convt3d::cuda::lane_sums
