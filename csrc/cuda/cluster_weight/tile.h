// SPDX-License-Identifier: BSD-3-Clause
// What a block sums, and how its shared memory is laid out:
//
//   panels   float32: the high and low parts of a chunk of input, [in channel][position], swizzled
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
  // float32: wgmma, of panels that the threads write (three_products.cuh).
  static constexpr bool kPanels = kPrecision == Precision::fp32;
  static constexpr int kPanelBytes = kPanels ? kM * kPanelRow : 0;
  static_assert(!kPanels || kChunk * kElement == kPanelRow);
  // mma.sync: a warp sums kWarpM x kWarpN.
  static constexpr int kWarpsM = 2, kWarpsN = kWarps / kWarpsM;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kColumns / kWarpsN;

  // Bytes from row to row. Without conflicts of banks: ldmatrix wants rows an odd multiple of 16
  // bytes apart; words of four rows, 8 words modulo 32; words of eight rows, 4 words; two or four
  // words of neighbouring positions, 8 or 16 words.
  static constexpr int kRowPad = kElement == 2 ? 16 : 32;
  static constexpr int kInputPitch = kLines ? kChunk * kElement + 16 : kM * kElement + kRowPad;
  static constexpr int kOutputPitch =
      kLines ? kChunk * kTaps * kElement + 16 * kTaps : kColumns * kElement + kRowPad;
  static constexpr int kOutputAt = (kLines ? kM : kChunk) * kInputPitch;
  static constexpr int kStageBytes =
      kOutputAt + (kLines ? kColumns / kTaps : kChunk) * kOutputPitch;
  // Two blocks of the smaller tile share an SM.
  static constexpr int kBlocks = kM == 64 ? 2 : 1;
  static constexpr int kRoom = kM == 64 ? kPairBytes : kSharedBytes;
  static constexpr int kStagesAt = 2 * kPanelBytes + kTableBytes;
  static constexpr int kStages = std::min(kMaxStages, (kRoom - kStagesAt) / kStageBytes);
  static constexpr int kSumPitch = 4 * (kColumns + 8);
  // The block's own, and behind them its share of the others'.
  static constexpr int kSumBytes = kM * kSumPitch;
  static constexpr int kBytes = kStagesAt + std::max(kStages * kStageBytes, 2 * kSumBytes);
  static_assert(kStages >= 3 && kBytes <= kRoom);
};

}  // namespace convt3d::cuda::cluster_weight
