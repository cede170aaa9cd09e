// SPDX-License-Identifier: BSD-3-Clause
// What a block sums, and how its shared memory is laid out:
//
//   barriers full and empty, of each stage, and of the sums of other blocks
//   lines    where the lines of a tile of columns begin in grad_output
//   stages   input and grad_output of a chunk of positions each: rows of channels
//   [position][channel],
//            or lines [channel][position] and [out channel, tap of d and h][position][tap of w]
//   sums     in the place of the stages, [in channel][column]
#pragma once
#include <algorithm>

#include "cuda/cluster_weight/config.h"
#include "cuda/cluster_weight/tuning.h"
#include "cuda/common/element.cuh"

namespace convt3d::cuda::cluster_weight {

// Taps of w side by side in a line; 0 for rows of channels.
constexpr int line_taps(Source source) {
  return source == Source::lines_4 ? 4 : source == Source::lines_2 ? 2 : 0;
}

// Of a byte of a row, its place in the row.
template <bool kSwizzled>
constexpr int place_in_row(int row, int byte) {
  return kSwizzled ? byte ^ row % 8 * 16 : byte;
}

template <Precision kPrecision_, Source kSource, int kM_>
struct Tile {
  static constexpr Precision kPrecision = kPrecision_;
  using T = ElementOf<kPrecision>;
  static constexpr int kElement = static_cast<int>(sizeof(T));
  static constexpr int kTaps = line_taps(kSource), kM = kM_;
  static constexpr bool kLines = kTaps > 0;
  static constexpr int kChunk = chunk_of(kPrecision, kSource);
  // Single elements may be copied. Limit: registers.
  static constexpr bool kSingle = kElement == 4 || kM == 64;
  // A warp sums kWarpM x kWarpN.
  static constexpr int kWarpsM = 2, kWarpsN = kWarps / kWarpsM;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kColumns / kWarpsN;

  // Rows begin on 32 bytes, as they do in memory: else a copy of 16 bytes costs two. Without
  // conflicts of banks: in rows of 128 bytes and more the 16-byte pieces are swizzled by the row;
  // words of four rows want to be 8 words apart modulo 32, two or four words of neighbouring
  // positions 8 or 16.
  static constexpr bool kSwizzledInput = kLines ? kChunk * kElement == 128 : kElement == 2;
  static constexpr bool kSwizzledOutput = !kLines && kElement == 2;
  static constexpr int kInputRow = (kLines ? kChunk : kM) * kElement;
  static constexpr int kInputPitch = kInputRow + (kSwizzledInput ? 0 : kLines ? 16 : 32);
  static constexpr int kOutputRow = (kLines ? kChunk * kTaps : kColumns) * kElement;
  static constexpr int kOutputPitch = kOutputRow + (kSwizzledOutput ? 0 : kLines ? 16 * kTaps : 32);
  static constexpr int kOutputAt = (kLines ? kM : kChunk) * kInputPitch;
  static constexpr int kStageBytes =
      kOutputAt + (kLines ? kColumns / kTaps : kChunk) * kOutputPitch;
  // Two blocks of the smaller tile share an SM.
  static constexpr int kBlocks = kM == 64 ? 2 : 1;
  static constexpr int kRoom = kM == 64 ? kPairBytes : kSharedBytes;
  static constexpr int kStages = std::min(kMaxStages, (kRoom - kTableBytes) / kStageBytes);
  static constexpr int kSumPitch = 4 * (kColumns + 8);
  // The block's own, and behind them its share of the others'.
  static constexpr int kSumBytes = kM * kSumPitch;
  static constexpr int kBytes = kTableBytes + std::max(kStages * kStageBytes, 2 * kSumBytes);
  static_assert(kStages >= 3 && kBytes <= kRoom);
};

}  // namespace convt3d::cuda::cluster_weight
