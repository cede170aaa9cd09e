// SPDX-License-Identifier: BSD-3-Clause
// Numbers of walks, each with where it comes from.
#pragma once
#include <array>
#include <cstdint>

#include "cuda/halo_weight/tuning.h"

namespace convt3d::cuda::halo_weight {

inline constexpr int kWalkGroups = 2;      // warpgroups that multiply
inline constexpr int kWalkPositions = 64;  // of a stage
inline constexpr int kWalkSteps = kWalkPositions / kDepth;
inline constexpr int kWalkWidth = 64;  // channels of a row in shared memory: the widest swizzle
inline constexpr int kWalkTileBytes = kWalkPositions * kWalkWidth * kElementBytes;
inline constexpr int kWalkRegisters = 232, kWalkProducerRegisters = 32;
inline constexpr int kWalkThreads = (kWalkGroups + 1) * 128;

constexpr int walk_stage_bytes(int channels, int units) {
  return (channels / kWalkWidth + kWalkGroups * units) * kWalkTileBytes;
}
constexpr int walk_stages(int channels, int units) {
  const int fit = static_cast<int>((kSharedBytes - kSwizzleAlign - kBarrierBytes) /
                                   walk_stage_bytes(channels, units));
  return fit < kMaxStages ? fit : kMaxStages;
}

inline constexpr std::array<Columns, 4> kWalks{{{256, 1}, {128, 2}, {192, 1}, {128, 1}}};

// Limit: two tensor maps a class are parameters of the kernel.
inline constexpr size_t kMaxClasses = 27;

// Limit of 32 bits: positions.
inline constexpr int64_t kMostWalked = int64_t{1} << 30;
// Jobs that are dealt out one by one for an estimate.
inline constexpr int64_t kMostSpread = 4096;

// Clocks, 1750 a microsecond. That arrive at an SM while all load, and of a product of an
// instruction: as cluster_gemm's, which loads as much in the same way.
inline constexpr double kWalkBytesPerClock = 42, kWalkProductClocks = 1.07;
inline constexpr double kWalkStartClocks = 8000;
// Measured: from about 100 us on (512 -> 512 k3 on 5 x 60 x 90, 240 -> 240 k4 s2 on 8 x 6 x 34 x
// 34) times are so much longer than estimated.
inline constexpr double kFastClocks = 200000, kSlowClocks = 1.35;
// Measured: 64 -> 32, k2 s2, 2 x 64^3 has the same estimate for both kernels, and takes 121 us
// instead of 100.
inline constexpr double kWalkMargin = 1.05;

}  // namespace convt3d::cuda::halo_weight
