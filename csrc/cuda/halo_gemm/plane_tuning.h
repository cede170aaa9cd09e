// SPDX-License-Identifier: BSD-3-Clause
// Numbers of plane_kernel.cuh, each with where it comes from.
#pragma once
#include <array>
#include <cstdint>

namespace convt3d::cuda::halo_gemm {

inline constexpr int kPlaneRowBytes = 64;  // a position's channels: the swizzle
inline constexpr int kPlaneSteps = 2;      // of 32 bytes
inline constexpr int kPlaneChannels = 64;  // of grad_input in a block: M of wgmma
inline constexpr std::array<int, 3> kPlaneColumns{192, 224, 256};
inline constexpr int kPlaneMaxSlots = 6, kPlaneMinSlots = 2;
inline constexpr int kPlaneGroups = 2;  // consumers: even and odd planes
// Blocks of a cluster that share the sums: in TF32 a row has half of 32 channels. What a warp gets
// from the other one, half of its columns at a time: 8 of its 16 channels.
constexpr int plane_ranks(int64_t element_bytes) { return element_bytes == 4 ? 2 : 1; }
inline constexpr int kPlaneMailParts = 2;
constexpr int plane_mail_bytes(int columns, int ranks) {
  return (ranks - 1) * columns / kPlaneMailParts * 8 * 4;
}
// Limits: 64 K registers of an SM, 168 a thread at the start, and multiples of 8; fewer spill.
inline constexpr int kPlaneThreads = (kPlaneGroups + 1) * 128;
inline constexpr int kPlaneConsumerRegisters = 216, kPlaneProducerRegisters = 72;
inline constexpr int kPlaneAlign = 1024;  // limit of the swizzle: 512
inline constexpr int kPlaneBarrierBytes = 256;
inline constexpr int kPlaneMaxColumns = 256;
inline constexpr int kPlanePlaceBytes = 4 * kPlaneMaxColumns;  // plane_store.cuh
// Fewer channels of grad_output leave half of each row empty; fewer of grad_input half of M.
inline constexpr int64_t kPlaneMinSources = 24, kPlaneMaxSources = 32, kPlaneMinChannels = 24;
inline constexpr int64_t kPlaneSourceMultiple = 8;  // limit of TMA: rows of 16 bytes
inline constexpr int64_t kPlaneMinWidth = 8;        // shorter ones were not measured
// Planes of tiles for each SM; with fewer each would load most planes of grad_output on its own.
inline constexpr int64_t kPlaneUnits = 2;
// Estimate, for the choice of a tile: bytes that boxes bring in a clock.
inline constexpr double kPlaneBytesPerClock = 12;

}  // namespace convt3d::cuda::halo_gemm
