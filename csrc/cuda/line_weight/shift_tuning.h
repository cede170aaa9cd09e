// SPDX-License-Identifier: BSD-3-Clause
// Numbers of shift_kernel.cuh: "limit" says which, "estimate" serves the choice of a cut.
#pragma once
#include <cstdint>

namespace convt3d::cuda::line_weight {

// Stride and taps along w, in_channels of an instruction, and units of 64 rows of a warpgroup.
// Limit: its sums, columns * taps * units / 2 of a thread.
struct ShiftTile {
  int stride, taps, columns, units;
};
inline constexpr ShiftTile kShiftTiles[] = {{1, 3, 32, 2}, {1, 3, 48, 2}, {1, 3, 64, 1},
                                            {1, 3, 96, 1}, {1, 5, 32, 1}, {1, 7, 32, 1},
                                            {2, 2, 64, 1}};

// The words that a lane loads of a line are those from `first` to `last`, counted from a multiple
// of `stride` words; tap 0 of its first position is element `start` from there.
struct ShiftWordRange {
  int start, first, last;
};
constexpr ShiftWordRange shift_words(int stride, int taps, int bytes, bool odd) {
  const int start = odd ? 4 * stride / bytes - 1 : 0, position = bytes == 2 ? stride : 0;
  return {start, start * bytes / 4, (start + position + taps - 1) * bytes / 4};
}

inline constexpr int kShiftGroups = 2, kShiftUnitRows = 64;
inline constexpr int kShiftDepthBytes = 32;  // of an instruction's positions
inline constexpr int kShiftAlign = 1024, kShiftBoxAlign = 128;
inline constexpr int kShiftMinStages = 2, kShiftMaxStages = 6;
// Limits: a lane of a warp issues each box; TMA.
inline constexpr int kShiftMaxBoxes = 32, kShiftMaxSpan = 256;
inline constexpr int64_t kShiftShared = 227 * 1024 - kShiftAlign - 16 * kShiftMaxStages;
inline constexpr int kShiftMaxChunks = 4, kShiftMaxLines = 16;

// Estimates in clocks of an SM: of loads from L2, a row of a box and its bytes, as halo_weight has
// them; what a stage's use of shared memory is multiplied by, and its drain.
inline constexpr double kShiftRowClocks = 3.2, kShiftBytesPerClock = 70;
inline constexpr double kShiftShareClocks = 1.1, kShiftStepClocks = 300;
// Measured: the kernel takes 1.1 to 1.4 times its estimate, and some 5 us more where it is small,
// of as many jobs; where more of them load the same lines, in 16 bits, up to 1.9 times. halo_weight
// and view_weight take 0.9 to 1.1 times theirs. Of stride 2 other kernels are as good with two
// jobs.
inline constexpr double kShiftMeasured = 1.3, kShiftMargin = 9000;
constexpr int64_t shift_most_jobs(int stride) { return stride == 2 ? 1 : 2; }
// Least estimate where neither of those takes a layer.
inline constexpr double kShiftLeastClocks = 52000;

}  // namespace convt3d::cuda::line_weight
