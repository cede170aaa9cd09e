// SPDX-License-Identifier: BSD-3-Clause
// A weight that TMA brings into shared memory from where it is, in grad_input with the weight in
// channels_last_3d: the product's input channels are contiguous then, as they are in its input. A
// box is a block (weight_pack.cuh) of rows of 128 bytes, swizzled, one row for each column. Columns
// have the order of runs.cuh, which are axes of the map: of channel
//
//   run * r + 2 run / 8 * q + 2 c + e     is column     run * r + 8 c + 2 q + e
#pragma once
#include <cstdint>

#include "cuda/halo_gemm/tuning.h"
#include "cuda/sm90/tensor_map.h"

namespace convt3d::cuda::halo_gemm {

// `taps` x in_channels of each output channel are contiguous; a box has `columns`.
inline CUtensorMap weight_boxes(const void* weight, Precision precision, int64_t taps,
                                int64_t in_channels, int64_t out_channels, int columns) {
  const int64_t bytes = element_bytes(precision), run = run_channels(bytes);
  const int64_t row = taps * in_channels, owned = run / 4;
  const auto pairs = static_cast<int>(owned / 2);
  return sm90::encode(
      {weight,
       precision,
       {row, 2, 4, pairs, out_channels / run},
       {1, row, owned * row, 2 * row, run * row},
       {static_cast<int>(kRowBytes / bytes), 2, 4, pairs, static_cast<int>(columns / run)}});
}

}  // namespace convt3d::cuda::halo_gemm
