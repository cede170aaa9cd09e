// SPDX-License-Identifier: BSD-3-Clause
// What a block sums, and which block does what.
#pragma once
#include <algorithm>

#include "cuda/cluster_gemm/params.h"
#include "cuda/common/element.cuh"
#include "cuda/sm90/shared_bytes.h"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::cluster_gemm {

template <Precision kPrecision, int kRows_, int kColumns_>
struct Tile {
  using T = ElementOf<kPrecision>;
  static constexpr int kRows = kRows_, kColumns = kColumns_;
  static constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(T));
  // Instructions of a warpgroup: 64 rows by so many columns.
  static constexpr int kInstruction = sizeof(T) == 4 ? std::min(128, kColumns) : kColumns;
  static constexpr int kRowTiles = kRows / 128, kColumnTiles = kColumns / kInstruction;
  static constexpr int kReadBytes = kRows * kChunkBytes;
  static constexpr int kStageBytes = kReadBytes + kColumns * kChunkBytes;
  static constexpr int kStages =
      std::min(kMaxStages, (sm90::kSharedBytes - kBarrierBytes) / kStageBytes);
  // Barriers, of each stage one for full and one for empty.
  static constexpr int kFullAt = kStages * kStageBytes, kEmptyBehind = 8 * kMaxStages;
  static constexpr int kBytes = kStages * kStageBytes + kBarrierBytes;
  static constexpr int kSums = kRows * kColumns / (kSumWarps * 32);  // of a thread
  // What the blocks of a cluster send a block: 16 columns at least, in the place of the stages.
  static_assert(kStages * kStageBytes >= kRows * kColumns * 4 && kSums / kMaxSplits % 8 == 0);
};

template <typename Tile>
using Sums = float[Tile::kRowTiles * Tile::kColumnTiles][Tile::kInstruction / 2];

// A tile, and the units of K that are this block's.
struct Job {
  int part;
  int log_splits, split;  // blocks that share K, from `first_rank` of the cluster on
  int first_rank;
  int first_row, first_column;
  int first_unit, last_unit;

  __device__ Job(const Params& p, int item, int rows, int columns) {
    part = 0;
    while (part + 1 < p.parts && item >= p.part[part + 1].first_item) ++part;
    const PartParams& own = p.part[part];
    const int rank = static_cast<int>(blockIdx.x) & (p.splits - 1);
    log_splits = own.log_splits;
    split = rank & ((1 << log_splits) - 1);
    first_rank = rank - split;
    item = ((item - own.first_item) << (p.log_splits - log_splits)) + (rank >> log_splits);
    first_column = divide(&item, p.column_tiles) * columns;
    first_row = item * rows;
    const int units = first_row < own.positions ? own.units : 0;  // else behind the last tile
    first_unit = units * split >> log_splits;
    last_unit = units * (split + 1) >> log_splits;
  }
};

// The cluster's first item: more follow, `clusters` behind each other, where K is not split.
__device__ __forceinline__ int first_item(const Params& p) {
  return static_cast<int>(blockIdx.x) >> p.log_splits;
}

}  // namespace convt3d::cuda::cluster_gemm
