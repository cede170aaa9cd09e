// SPDX-License-Identifier: BSD-3-Clause
// The tiles that are built, and the shared memory that each takes. Plain C++, used by host and
// device.
//
//   columns      result offset, weight offset (64-bit) and bias (float) of each column
//   rows         source and result offset of each row, of the tiles that are under way
//   lines        grad_input: source offset of each line of two chunks
//   staging      a buffer for each warp: its part of the tile in the order of the result
//   source       kStages chunks of A: [K][positions] or [positions][K]
//   weights      chunks of B, [K][columns] (grad_input: [columns][K]): kStages, or all of the slice
//                where resident
//   sums         where a cluster splits K: of the warps' parts that this block adds up, all blocks'
#pragma once
#include <cstdint>

#include "cuda/shuffle_gemm/config.h"

namespace convt3d::cuda::shuffle_gemm {

// Rows of a warp's part of a tile, one per lane.
inline constexpr int kWarpM = 32;

// kChunkBytes: of K in a pipeline stage; an mma.sync takes 32. 128 saves barriers, where two blocks
// on an SM, or the one of the largest tile, have room for it.
template <TileKind kKind_, int kM_, int kN_, int kWarpsM_, int kWarpsN_, int kChunkBytes_,
          int kStages_, int kBlocksPerSm_>
struct Tile {
  static constexpr TileKind kKind = kKind_;
  static constexpr int kM = kM_, kN = kN_;
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_;
  static constexpr int kWarps = kWarpsM * kWarpsN;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kWarpN = kN / kWarpsN;
  static constexpr int kChunkBytes = kChunkBytes_;
  static constexpr int kStages = kStages_, kBlocksPerSm = kBlocksPerSm_;
  static_assert(kWarpsM * kWarpM == kM && (kWarpN == 32 || kWarpN == 64));
};
using Tile256x64 = Tile<TileKind::t256x64, 256, 64, 8, 2, 128, 3, 1>;
using Tile128x128 = Tile<TileKind::t128x128, 128, 128, 4, 2, 64, 3, 2>;
using Tile64x64 = Tile<TileKind::t64x64, 64, 64, 2, 2, 128, 4, 3>;
using Tile128x128Shared = Tile<TileKind::t128x128_shared, 128, 128, 4, 2, 128, 3, 1>;
using Tile128x32 = Tile<TileKind::t128x32, 128, 32, 4, 1, 64, 4, 4>;

// Blocks on an SM: three products for one need more registers than 16 warps have.
template <typename Tile>
constexpr int blocks_per_sm(Precision precision) {
  return precision == Precision::fp32 ? Tile::kBlocksPerSm - (Tile::kBlocksPerSm > 2)
                                      : Tile::kBlocksPerSm;
}

// Which tiles have a kernel. The sums of split products need the registers of the largest tile
// twice; grad_input reads so much that narrow tiles gain nothing from their fewer columns.
constexpr bool is_built(TileKind kind, Precision precision, Direction direction) {
  if (kind == TileKind::t256x64) {
    return direction == Direction::grad_input && precision != Precision::fp32;
  }
  if (kind == TileKind::t128x128_shared) {
    return direction == Direction::forward && precision != Precision::fp32;
  }
  // fp32 of few in_channels is bound by products, of which half would be zeros.
  return (kind != TileKind::t128x128 || precision != Precision::fp32) &&
         (kind != TileKind::t128x32 || direction == Direction::forward ||
          precision == Precision::fp32);
}

// Single 16-bit elements that a thread loads at a time: registers limit the large tiles.
constexpr int loads_in_flight(int threads) { return threads > 128 ? 8 : 32; }

// Calls body with the tile's type: Tile<...>{}.
template <typename Body>
auto with_tile(TileKind kind, Body body) {
  switch (kind) {
    case TileKind::t256x64:
      return body(Tile256x64{});
    case TileKind::t64x64:
      return body(Tile64x64{});
    case TileKind::t128x32:
      return body(Tile128x32{});
    case TileKind::t128x128_shared:
      return body(Tile128x128Shared{});
    case TileKind::t128x128:
      break;
  }
  return body(Tile128x128{});
}

template <typename Tile, int kElementBytes, Direction kDirection>
struct SharedMemory {
  static constexpr bool kForward = kDirection == Direction::forward;
  static constexpr int kChunk = Tile::kChunkBytes / kElementBytes;  // of K in a stage
  // Row pitches in bytes that keep the rows of one fragment load on different banks: ldmatrix
  // wants an odd multiple of 16, single words of K rows 8 words (32 bytes) modulo 32.
  static constexpr int kKRowPad = kElementBytes == 2 ? 16 : 32;
  static constexpr int kPositionsPitch = Tile::kM * kElementBytes + kKRowPad;  // [K][...]
  static constexpr int kDepthPitch = Tile::kChunkBytes + 16;                   // [...][K]
  static constexpr int kWeightPitch = Tile::kN * kElementBytes + kKRowPad;     // forward
  // Where the elements of a group are kept together, [K / group][positions][group], the same bytes
  // of padding for each of K: the rows of one fragment load are then on different banks, too.
  static constexpr int kWordsPitch = 4 * (Tile::kM + 8);
  static_assert(kPositionsPitch * 4 == kWordsPitch * kElementBytes);

  static constexpr int kByDepth = kChunk * kPositionsPitch;
  static constexpr int kByPositions = Tile::kM * kDepthPitch;
  static constexpr int kSourceBytes = kByDepth > kByPositions ? kByDepth : kByPositions;
  static constexpr int kWeightBytes = kForward ? kChunk * kWeightPitch : Tile::kN * kDepthPitch;
  // 1024 elements in one pass of the epilogue, and what padding adds to them.
  static constexpr int kStagingPad = Tile::kWarpN == 32 ? 32 * 8 * kElementBytes : 512;
  // A warp's fragments are whole sectors of grad_input where elements have 4 bytes.
  static constexpr bool kStaged = kForward || kElementBytes == 2;
  static constexpr int kStagingBytes = kStaged ? 1024 * kElementBytes + kStagingPad : 0;
  // Tiles whose rows are in use: one is stored, kStages - 1 are loaded, one is described.
  static constexpr int kTilesUnderWay = Tile::kStages + 1;

  static constexpr int kColumnResult = 0;
  static constexpr int kColumnWeight = kColumnResult + 8 * Tile::kN;
  static constexpr int kColumnBias = kColumnWeight + 8 * Tile::kN;
  static constexpr int kRows = kColumnBias + 4 * Tile::kN;
  static constexpr int kLines = kRows + 16 * kTilesUnderWay * Tile::kM;
  static constexpr int kStaging = kLines + (kForward ? 0 : 2 * 8 * kChunk);
  static constexpr int kSource = kStaging + Tile::kWarps * kStagingBytes;
  static constexpr int kWeights = kSource + Tile::kStages * kSourceBytes;
  // Tiles that a cluster's blocks may share; behind kStages chunks of weights the sums of the
  // warps' parts that a block adds up.
  static constexpr bool kCanSplit =
      Tile::kKind == TileKind::t64x64 || Tile::kKind == TileKind::t128x128_shared;
  static constexpr int64_t split_bytes(int64_t splits) {
    if (splits == 1) return 0;
    return (Tile::kWarps + splits - 1) / splits * splits * kWarpM * Tile::kWarpN * 4;
  }
  static constexpr int64_t total(int64_t slots) { return kWeights + slots * kWeightBytes; }
};

}  // namespace convt3d::cuda::shuffle_gemm
