// SPDX-License-Identifier: BSD-3-Clause
// Numbers of turn_kernel.cuh, each with where it comes from.
#pragma once
#include <array>
#include <cstdint>

namespace convt3d::cuda::halo_gemm {

inline constexpr int kTurnKernel = 3, kTurnStride = 2;  // of all axes
inline constexpr int kTurnMaxPadding = 2;
inline constexpr int kTurnRowBytes = 32;  // a position's channels in a stage: the swizzle
inline constexpr int kTurnPieces = kTurnRowBytes / 16;
inline constexpr int kTurnGroups = 2;                   // consumers, M of wgmma each
inline constexpr int kTurnChannels = kTurnGroups * 64;  // of grad_input in a block
inline constexpr std::array<int, 4> kTurnColumns{192, 224, 240, 256};
// Warps: consumers, those that turn lines, and one that copies.
inline constexpr int kTurnConsumers = kTurnGroups * 4, kTurnTurners = 3;
inline constexpr int kTurnStep = kTurnTurners * 32, kTurnBatch = 3;  // elements of a channel
constexpr int turn_table(int elements) {
  constexpr int kAtOnce = kTurnStep * kTurnBatch;
  return (elements + kAtOnce - 1) / kAtOnce * kAtOnce;
}
inline constexpr int kTurnThreads = (kTurnConsumers + kTurnTurners + 1) * 32;
// Limits: 64 K registers of an SM, 168 a thread at the start.
inline constexpr int kTurnConsumerRegisters = 216, kTurnProducerRegisters = 72;
inline constexpr int kTurnAlign = 256;  // limit of the swizzle
inline constexpr int kTurnBarrierBytes = 512;
inline constexpr int kTurnLead = 16;           // bytes; raw lines begin where they do in memory
inline constexpr int kTurnMaxElements = 4096;  // of a channel's lines, for which there is a table
inline constexpr int kTurnMaxColumns = 256;
// Weights of the taps of w of a tap of h.
inline constexpr int kTurnWeightBytes = kTurnKernel * kTurnChannels * kTurnRowBytes;
inline constexpr int kTurnMinSlots = 2, kTurnMaxSlots = 4;  // of stages, and of raw lines
inline constexpr int kTurnMinWeightSlots = 3, kTurnMaxWeightSlots = 6;
// Fewer channels of grad_input, of a block or of two, leave a warpgroup without work.
inline constexpr int64_t kTurnMinChannels = 72, kTurnMinOfTwo = 192;
inline constexpr int64_t kTurnMinSources = 16;
inline constexpr int64_t kTurnMinWidth = 8;  // shorter ones were not measured
// Planes of tiles for each SM.
inline constexpr int64_t kTurnUnits = 2;

}  // namespace convt3d::cuda::halo_gemm
