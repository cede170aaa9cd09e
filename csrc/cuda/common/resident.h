// SPDX-License-Identifier: BSD-3-Clause
// Calls of few positions and many taps, which direct computes with its input resident in shared
// memory, and which other families leave to it.
#pragma once
#include <cstdint>

#include "geometry/ceil_div.h"
#include "plan/description.h"

namespace convt3d::cuda {

// forward in float32: a thread's products of four lines of four positions. Limit: 99 KB of shared
// memory for a block of 8.6, 8.9 and 12.0 (CUDA C++ Programming Guide).
inline constexpr int kResidentRows = 4;
inline constexpr int64_t kResidentBytes = 96 * 1024;
// Long strides: taps of an output, at most; and fewer residues leave lanes without taps.
inline constexpr int64_t kLongStrideTaps = 8, kLongStrideResidues = 64;
// Fewer in channels do not pay for the start; of the out channels each is a block.
inline constexpr int64_t kResidentMinIns = 8, kResidentMaxOuts = 8;
// More have enough to do for tensor cores (subpixel_gemm).
inline constexpr int64_t kResidentPositions = 256;
inline constexpr double kResidentProducts = 0x1p30;

// Shared memory of a block of `lines` residues of h, in floats: the group's inputs, with a row of
// zeros each, its taps' weights and products.
struct ResidentSize {
  int64_t width, rows, plane, pitch;

  explicit ResidentSize(const Problem& p) {
    const Extent3 output = p.output();
    width = ceil_div(p.input[2], 4) * 4;
    rows = p.batch * ceil_div(output[0], p.stride[0]) * ceil_div(output[1], p.stride[1]);
    plane = (p.batch * p.input[0] * p.input[1] + 1) * width;
    // An odd number of 16 bytes: neighbouring taps are in different banks.
    pitch = (rows * width / 4 | 1) * 4;
  }
  int64_t bytes(const Problem& p, int64_t lines) const {
    const int64_t passes = ceil_div(p.kernel[0], p.stride[0]) * ceil_div(p.kernel[1], p.stride[1]);
    const int64_t ins = p.in_channels_per_group(), taps = lines * p.kernel[2];
    return (ins * (plane + passes * taps) + taps * pitch) * 4;
  }
};

// Residues that are many, and have few taps each; outputs that 32 bits count.
inline bool has_long_strides(const Problem& p) {
  int64_t taps = 1;
  for (int axis = 0; axis < 3; ++axis) {
    if (p.dilation[axis] != 1) return false;
    taps *= ceil_div(p.kernel[axis], p.stride[axis]);
  }
  const double outputs =
      static_cast<double>(p.batch * p.out_channels) * static_cast<double>(volume(p.output()));
  return volume(p.stride) >= kLongStrideResidues && taps <= kLongStrideTaps && outputs < 0x1p30;
}

inline bool is_resident_forward(const Description& description) {
  const Problem& p = description.problem;
  return description.direction == Direction::forward && element_bytes(description.precision) == 4 &&
         has_long_strides(p) && p.in_channels_per_group() >= kResidentMinIns &&
         p.out_channels_per_group() <= kResidentMaxOuts &&
         p.batch * volume(p.input) <= kResidentPositions &&
         ResidentSize(p).bytes(p, 1) <= kResidentBytes && useful_flops(p) / 2 <= kResidentProducts;
}

// grad_weight: positions that shared memory holds beside 16 in channels each; and those whose
// chains, of a quarter of them, keep float32 within twice cuDNN's error where a thread has one in
// channel: 128 long they are 2.0e-7 off, cuDNN 0.95e-7.
inline constexpr int64_t kFewPositions = 256, kFewPositionsAlone = 320;
// in channels of a group from which a thread takes 16, and up to which it takes one; fewer weights
// do not occupy a device.
inline constexpr int kTapsIns = 16;
inline constexpr int64_t kMinTiledIns = 9, kMaxSingleIns = 2;
inline constexpr int64_t kManyWeights = int64_t{1} << 19, kManyTaps = int64_t{1} << 10;

// In channels that a thread takes there; 0 where others compute it.
inline int taps_ins(const Description& description) {
  const Problem& p = description.problem;
  if (description.direction != Direction::grad_weight) return 0;
  const int64_t positions = p.batch * volume(p.input), ins = p.in_channels_per_group();
  const int64_t weights = p.in_channels * p.out_channels_per_group() * volume(p.kernel);
  if (weights >= int64_t{1} << 30 || positions == 0) return 0;
  if (ins >= kMinTiledIns && positions <= kFewPositions && weights >= kManyWeights) return kTapsIns;
  const bool alone = ins <= kMaxSingleIns && positions <= kFewPositionsAlone;
  return alone && volume(p.kernel) >= kManyTaps ? 1 : 0;
}

}  // namespace convt3d::cuda
