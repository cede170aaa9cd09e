// SPDX-License-Identifier: BSD-3-Clause
// What a block of box_kernel.cuh sums, and how its shared memory is laid out:
//
//   stages    of a box: input [128 bytes of K][in_channel] (float32: high and low parts),
//             grad_output as it lies, and of boxes that are turned around input as it lies
//   sums      in the place of the stages: the block's own [in_channel][column], and those of the
//             other blocks of a cluster of its share of them
//   table     where the positions of a box lie in a channel of grad_output
//   barriers  full and empty, of each stage, and of the other blocks' sums
#pragma once
#include "cuda/cluster_weight/box_launch.h"
#include "cuda/cluster_weight/box_tuning.h"
#include "cuda/common/element.cuh"

namespace convt3d::cuda::cluster_weight {

inline constexpr int kStartBarrier = 3;  // beside those of load.cuh

template <Precision kPrecision_, int kRows_, bool kTurned_>
struct BoxTile {
  static constexpr Precision kPrecision = kPrecision_;
  using T = ElementOf<kPrecision>;
  static constexpr int kElement = static_cast<int>(sizeof(T)), kRows = kRows_;
  static constexpr bool kTurned = kTurned_;
  // float32: the high parts of input's panels lie in their place, the low ones behind all of them.
  static constexpr bool kThree = kPrecision == Precision::fp32;
  // Limit: 128 columns of the wgmmas that are written down.
  static constexpr int kParts = kRows > 128 ? 2 : 1, kWide = kRows / kParts;
  static constexpr int kSteps = kPanelRow / 32;  // wgmmas of a group
  static constexpr int kStepPositions = 32 / kElement;
  static constexpr int kSumBytes = kRows * kBoxSumPitch;
};

struct BoxJob {
  int first_in, first_column, first_box, end_box, rank;

  __device__ __forceinline__ BoxJob(const BoxParams& p, int rows) {
    int rest = static_cast<int>(blockIdx.x);
    rank = divide(&rest, p.blocks);
    first_column = divide(&rest, p.column_tiles) * kColumns;
    first_in = rest * rows;
    first_box = box(p, rank);
    end_box = box(p, rank + 1);
  }
  static __device__ __forceinline__ int box(const BoxParams& p, int rank) {
    int boxes = p.boxes * rank;
    divide(&boxes, p.blocks);
    return boxes;
  }
};

struct BoxShared {
  uint32_t stages, table, full, empty, sums_full;

  __device__ __forceinline__ BoxShared(const BoxParams& p, uint32_t base)
      : stages(base),
        table(base + p.tail),
        full(table + p.groups * kPanelRow),
        empty(full + 8 * kMaxBoxStages),
        sums_full(empty + 8 * kMaxBoxStages) {}
};

}  // namespace convt3d::cuda::cluster_weight
