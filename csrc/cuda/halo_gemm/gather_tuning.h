// SPDX-License-Identifier: BSD-3-Clause
// Numbers of gather_kernel.cuh, each with where it comes from.
#pragma once
#include <cstdint>

namespace convt3d::cuda::halo_gemm {

inline constexpr int kGatherKernel = 3, kGatherStride = 2;  // of all axes
inline constexpr int kGatherGroups = 3;                     // consumers, warpgroups
inline constexpr int kGatherRun = 16;                       // positions of a line that a warp has
// Limits: 64 K registers of an SM, 128 a thread at the start, and multiples of 8.
inline constexpr int kGatherThreads = (kGatherGroups + 1) * 128;
inline constexpr int kGatherConsumers = kGatherGroups * 4;  // warps
inline constexpr int kGatherConsumerRegisters = 160, kGatherProducerRegisters = 32;
// A stage: so many bytes of channels of each position, of a plane's lines.
inline constexpr int kGatherChunkBytes = 32;
// Steps of wgmma for a stage and a tap of {d, h}: two for taps 0 and 1 of w, one for tap 2.
inline constexpr int kGatherSteps = 3;
// Bytes before a channel's lines, for positions below 0, and what lines lie on in a stage modulo
// them as in memory: copies of 16 bytes are else not joined to sectors.
inline constexpr int kGatherLead = 32;
inline constexpr int kGatherMaxSlots = 8, kGatherMinSlots = 2;
inline constexpr int kGatherAlign = 128, kGatherBarrierBytes = 512;
// Blocks of a cluster that share a sum, and its columns.
inline constexpr int kGatherRanks = 2, kGatherSharedColumns = 64;
// What a warp gets from the other blocks of a cluster, for a plane: their sums of its own columns.
constexpr int gather_mail_bytes(int columns, int ranks) {
  return (ranks - 1) * (columns / ranks) * kGatherRun * 4;
}
inline constexpr int64_t kGatherMaxPadding = 2;  // limit: kGatherLead
// Fewer leave more than half of what is multiplied empty.
inline constexpr int64_t kGatherMinChannels = 24, kGatherMinSources = 16;
// Planes of tiles for each SM: a march loads one plane more than twice those it writes.
inline constexpr int64_t kGatherUnits = 4;

// Each block of channels of grad_input reads all of grad_output. Measured: 4 of them take 523 us
// where halo_gemm's first kernel takes 414 (128 -> 64 on 40 x 80 x 80, bfloat16), 2 less.
inline constexpr int kGatherMaxBlocks = 2;

// Columns of wgmma, channels of grad_input, and tiles of 64 positions of a warpgroup. Limit: sums
// of two planes in the registers of a consumer.
constexpr int gather_tiles(int columns) { return 64 / columns; }
// From a channel's lines to the next, modulo 128: what a warp reads at once lies in different
// banks, of four channels eight elements of TF32 or positions of 8 to 16 bytes.
constexpr int gather_skew(int element_bytes) { return element_bytes == 2 ? 32 : 64; }

// Estimate, for the choice of a tile: bytes that copies bring in a clock, clocks of shared memory
// for a tap of h of 64 positions, and how many products or loads wait for the other.
inline constexpr double kGatherBytesPerClock = 20, kGatherLineClocks = 64, kGatherWaits = 0.25;
// Estimate: clocks of a plane and tile whose sums a cluster shares.
inline constexpr double kGatherJoinClocks = 800;

}  // namespace convt3d::cuda::halo_gemm
