// SPDX-License-Identifier: BSD-3-Clause
// Numbers of forward with resident weights: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::shuffle_gemm {

// Of a tile: positions of a warpgroup, and columns that it multiplies at a time.
inline constexpr int kResidentRows = 64, kResidentColumns = 64;
// Of K in a chunk: a row of the 128-byte swizzle.
inline constexpr int kResidentChunk = 128;
// A chunk of either operand.
inline constexpr int kResidentBytes = kResidentRows * kResidentChunk;
// Consumer warpgroups. Limit: registers.
constexpr int resident_warpgroups(Precision precision) {
  return precision == Precision::tf32 ? 3 : 4;
}
// Limit: 227 KB for a block; less the alignment of the first chunk.
inline constexpr int64_t kResidentShared = 227 * 1024;
inline constexpr int64_t kResidentMinSlots = 3, kResidentMaxSlots = 24;
// Limit: bytes of the tables of a slice's columns.
inline constexpr int64_t kResidentMaxStrips = 16;
// Sub-runs narrower than this make stores too short.
inline constexpr int64_t kResidentMinWidth = 16;

// Where it is chosen. Measured on an H200, us, resident / cp.async:
//   NDHWC  TF32 384->5 k2x4x4 394 / 802, 64->32 k1x2x2 180 / 216, but 32->128 k1x2x2 76 / 72 and
//          32->14 k1 313 / 238; bf16 384->5 254 / 347, 192->14 k2x4x4 49 / 64, 64->32 k2 in 2x64^3
//          102 / 111, 64->64 k2 in 80000 positions 35.5 / 41, but 32->128 k1x2x2 44 / 39
//   NCDHW  bf16 384->5 247 / 318, 192->14 48 / 58, 64->32 k2 in 2x64^3 104 / 109, in 2x96x128x128
//          568 / 600, 64->64 k2 40.6 / 44, but TF32 64->32 k2 225 / 215
//   grad_input, NCDHW: 32->14 k1 in 2x128^3 bf16 248 / 413, TF32 332 / 396; 64->32 k1 s2, packed,
//          bf16 83 / 96, TF32 119 / 94
inline constexpr int64_t kResidentPositions = 1 << 16, kResidentFewestColumns = 128;
// Fewer positions, in 16 bits, NCDHW and NDHWC: 256->128 k2 in 2x16^3 21.0 / 25.7 and 20.4 / 26.1,
// 320->256 k2 in 2x8^3 12.0 / 13.8 and 12.0 / 15.1, 768->128 k2 in 4x6^3 14.7 / 17.0 and 12.5
// / 17.6, 768->16 k4 the same 14.1 / 16.2 and 12.2 / 15.9, but one position of 200->512 k4 18.5
// / 17.4; packed 768->384 k2 in 4x3^3 15.3 / 21.2, 320->320 k1x2x2 in 2x5x5x4 10.2 / 9.9.
inline constexpr int64_t kResidentFewDepth = 512, kResidentPackDepth = 1024;  // bytes of channels
inline constexpr int64_t kResidentRowDepth = 256, kResidentLineDepth = 384;   // bytes of channels

// For the choice, clocks of an SM.
inline constexpr double kResidentStartClocks = 2000;   // a block's start
inline constexpr double kResidentBytesPerClock = 19;   // 4.3 TB/s over 132 SMs at 1.7 GHz
inline constexpr double kResidentCachedPerClock = 32;  // from L2
inline constexpr double kResidentChunkClocks = 150;    // a warpgroup alone
inline constexpr double kResidentEndClocks = 500;      // the same: a strip's sums to memory
inline constexpr double kResidentTileClocks = 300;     // the same: a tile's start
inline constexpr double kResidentWaitClocks = 600;     // the same: for its input, if it waits
// Measured: all warpgroups together, of a tile with one strip 860, with four 2800.
inline constexpr double kResidentTileIssue = 200, kResidentStripIssue = 650;

}  // namespace convt3d::cuda::shuffle_gemm
