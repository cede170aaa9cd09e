// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the tap_gemm family: "limit" says which, "estimate" serves the choice of a cut.
#pragma once
#include <cstdint>

#include "cuda/sm90/line.h"

namespace convt3d::cuda::tap_gemm {

inline constexpr int kArch = 90;  // limit: wgmma
inline constexpr int kConsumerGroups = 2, kConsumerThreads = 128 * kConsumerGroups;
inline constexpr int kProducerThreads = 128, kThreads = kConsumerThreads + kProducerThreads;
// Limit: together what the launch gives the three warpgroups, 3 * 168; multiples of 8.
struct Registers {
  int producer, consumer;
};
constexpr Registers registers(bool full) { return full ? Registers{72, 216} : Registers{88, 208}; }
// Limit: 227 KB, less what the barriers and the alignment of the stages take.
inline constexpr int kStageAlignment = 1024;  // limit: swizzled lines repeat after so many bytes
inline constexpr int64_t kMaxShared = 227 * 1024 - 2048;
inline constexpr int kMinStages = 2, kMaxStages = 6;
inline constexpr int kMaxPiece = 4;                 // elements of a copy of 16 bytes
inline constexpr int kMaxSpan = 256, kMaxStep = 8;  // limit: of a box of TMA
// Positions of a line of 128 bytes of the packed input.
using sm90::kChunk;
using sm90::kLineBytes;
inline constexpr int kMaxBoxLines = 256;  // limit: of TMA
inline constexpr int64_t kMaxPositions = 256;
inline constexpr int64_t kMaxCuts = 10;  // ways to cut an axis that are looked at
// Local coordinates of a slot, in bits: n, d, h, w.
inline constexpr int kBitsN = 8, kBitsD = 6, kBitsH = 8, kBitsW = 10;
// Limit: 32-bit coordinates and counts, to which a tile's extent is added.
inline constexpr int64_t kMaxIndex = int64_t{1} << 29;
// Below, most columns would be padding.
inline constexpr int64_t kMinColumns = 9;
// Measured: up to so many in_channels, and from so many out_channels and taps on, weight_gemm's
// TF32 is faster in NDHWC and where stride and dilation have a common factor.
inline constexpr int64_t kNarrow = 32, kWide = 16, kManyTaps = 9;
// Products up to which few_channels, where it takes them, is faster: 0.8 times as long in 95 random
// problems (H200, 2026-11-22).
inline constexpr double kLittleWork = 34e6;
// float32: sums of fewer products have a smaller error one by one; with at most 8 out_channels that
// is few_channels. Measured: 36 -> 1, 120 products, 1.43e-7 against torch's 0.69e-7;
// 128 -> 9, 32 products, 1.40e-7 against 0.64e-7.
inline constexpr int64_t kMinSum = 64, kFewOut = 8, kMinFewSum = 256;
// Bound of the packed input: what a large layer's tensors take themselves.
inline constexpr int64_t kMaxPackedBytes = int64_t{4} << 30;
inline constexpr int64_t kMaxPartialBytes = int64_t{64} << 20;

// Estimates in clocks of an SM.
inline constexpr double kLoadBytesPerClock = 28;  // from L2
// Times as long for input's lines that were not packed. Measured: 64 -> 32, k3 s2, 12 x 24 x 32 x
// 64 in TF32 380 us so, 510 packed.
inline constexpr double kAsItLies = 1.2;
inline constexpr double kPieceClocks = 25;          // measured: of 32 copies, whatever their size
inline constexpr double kLineClocks = 1.5;          // of a line of planes, beside its bytes
inline constexpr double kTileClocks = 120;          // barriers
inline constexpr double kBlockClocks = 6000;        // tables, first load and result of a block
inline constexpr double kMemoryBytesPerClock = 17;  // of one SM's share: packing, partial sums
inline constexpr double kPackClocks = 4000;         // of the packing launch
inline constexpr double kLaunchClocks = 4000;       // of the reducing launch

}  // namespace convt3d::cuda::tap_gemm
