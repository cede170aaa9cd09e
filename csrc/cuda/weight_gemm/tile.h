// SPDX-License-Identifier: BSD-3-Clause
// What a warp sums, and how a block's shared memory is laid out. Used by host and device.
//
//   input rows      where each row of the input tile comes from (Row)
//   output rows     the same of grad_output's halo
//   positions       of each input position, the halo row that tap 0 meets
//   stages          input tile [positions][channels], halo [rows][channels]
#pragma once
#include <cstdint>

#include "cuda/weight_gemm/config.h"

namespace convt3d::cuda::weight_gemm {

// 16 * kBlocksM in_channels times kUnits pairs of a tap and 16 out_channels.
template <int kBlocksM_, int kUnits_>
struct Tile {
  static constexpr int kBlocksM = kBlocksM_, kUnits = kUnits_, kM = 16 * kBlocksM;
};

// The tiles that are built. Split products need registers of their own.
template <Precision kPrecision, typename Body>
void with_tile(TileKind kind, const Body& body) {
  constexpr bool kFull = kPrecision == Precision::fp32;
  if (kind == TileKind::rows48) return body(Tile<3, kFull ? 2 : 4>{});
  return body(Tile<2, kFull ? 3 : 7>{});
}
constexpr int tile_rows(TileKind kind) { return kind == TileKind::rows48 ? 48 : 32; }
constexpr int tile_units(TileKind kind, Precision precision) {
  const bool full = precision == Precision::fp32;
  return kind == TileKind::rows48 ? (full ? 2 : 4) : (full ? 3 : 7);
}

// One row of a tile: where it is relative to the tile's origin, and where it goes. `at` holds the
// local coordinates d, h, w in 10 bits each.
struct Row {
  int64_t offset;
  uint32_t at;
  uint16_t image, place;
};
inline constexpr int kCoordinateBits = 10;
inline constexpr int kMaxLocal = (1 << kCoordinateBits) - 1;
inline constexpr uint16_t kNoImage = 0xffff;  // rows behind the last position: zeros

// Bytes of a row of channels. ldmatrix wants rows an odd multiple of 16 bytes apart, single words
// 8 words modulo 32 or 24; channels are a multiple of 16.
constexpr int row_pitch(int64_t channels, int64_t element) {
  return static_cast<int>(channels * element + (element == 2 ? 16 : 32));
}

constexpr int64_t table_bytes(int64_t positions, int64_t rows) {
  return int64_t{sizeof(Row)} * (positions + rows) + 4 * positions;
}

}  // namespace convt3d::cuda::weight_gemm
