// SPDX-License-Identifier: BSD-3-Clause
// Numbers of halo_gemm, each with where it comes from.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#include "cuda/sm90/shared_bytes.h"

namespace convt3d::cuda::halo_gemm {

// Limits: the kernel's parameters hold a table of residues per axis, and the order of all.
inline constexpr int kMaxStride = 8, kMaxResidues = 64;
// Limit: the kernel's tensor maps, one per residue of w in grad_input.
inline constexpr int kMaxMaps = 4;
// Limits of 32-bit coordinates, products of a few of them included.
inline constexpr int64_t kMaxExtent = int64_t{1} << 24, kMaxPositions = int64_t{1} << 30;
inline constexpr int64_t kMaxTaps = 1024;
// Limit: the work of all tiles is counted in 32 bits.
inline constexpr int64_t kMaxWork = int64_t{1} << 30;
// Limit: the bias of all channels lies in shared memory.
inline constexpr int64_t kMaxOutChannels = 4096, kMaxInChannels = int64_t{1} << 20;
// Limit: 16-byte pieces of a position's output channels.
inline constexpr int kChannelMultiple = 8;
// Limit: 16 bytes of them that a thread stores in NDHWC.
constexpr int64_t stored_multiple(int64_t element_bytes) { return 16 / element_bytes; }

inline constexpr int kRowBytes = 128;  // of a stage: the width of the swizzle
inline constexpr int kMaxSteps = 4;    // 128 bytes
inline constexpr int kGroupRows = 64;  // of a warpgroup
// Kernels of depth 3 march through it; deep ones have a pair of output planes share an input plane.
inline constexpr int kMarchingSlots = 3, kPairSlots = 2;
constexpr bool marches(int slots) { return slots == kMarchingSlots; }
// Output planes of a position.
constexpr int plane_step(int slots) { return slots == kPairSlots ? kPairSlots : 1; }
// Where a block marches, narrow inputs are frequent.
constexpr bool is_built(int slots, int fused, int steps) {
  return steps == kMaxSteps || (steps == 3 && fused == 1 && slots != kPairSlots) ||
         (steps == 2 && slots > 1) || (steps == 1 && fused == 1 && marches(slots));
}
// Limit: sums of two residues of at most 96 columns in the registers of a consumer.
constexpr int max_fused(int slots, int channels) {
  return marches(slots) && (channels == 24 || channels == 32) ? 2 : 1;
}
// Along d, of fused residues of w: the output planes that an input plane finishes are stored before
// the slots move up (kernel.cuh).
inline constexpr int kMaxFusedStride = 2;
// Whether both residues of w may be stored at once, or one with the bias of the other. Limit:
// registers.
constexpr bool can_stretch(int slots, int channels, int fused) {
  return fused > 1 || (slots == 1 && channels < 128);
}
// Whether blocks of the weight may be rows of 128 bytes (weight_pack.cuh).
constexpr bool has_weight_rows(int slots, bool shared, int steps) {
  return slots == 1 && shared && steps == kMaxSteps;
}
// Channels of which a thread of a quad owns 16 bytes.
constexpr int64_t run_channels(int64_t element_bytes) { return 64 / element_bytes; }

// Whether TMA may bring the weight from where it is (weight_boxes.h): rows and runs are whole, or a
// box would end within other taps or beyond the tensor.
constexpr bool fits_boxes(int64_t in_channels, int64_t out_channels, int64_t element_bytes) {
  return in_channels * element_bytes % kRowBytes == 0 &&
         out_channels % run_channels(element_bytes) == 0;
}
inline constexpr int kMaxBox = 256;         // limit of TMA
inline constexpr int kMaxBoxLines = 8;      // of a box: of more there are too few parts of planes
inline constexpr int kSwizzleAlign = 1024;  // limit of the 128-byte swizzle
inline constexpr int64_t kMapAlign = 256;   // of the packed input; TMA wants 16
inline constexpr std::array<int, 5> kMarchingChannels{16, 24, 32, 48, 64};
inline constexpr std::array<int, 4> kPlainChannels{32, 64, 96, 128};
inline constexpr int kPairChannels = 32;
// Steps that pairs of output planes multiply, over those with channels. Measured: 16 -> 32 k5 on
// 4 x 32^3 in 16 bits, half of it padding, 1.3 times implicit_gemm's time.
inline constexpr double kPairPadding = 1.5;
inline constexpr int kMaxTileChannels = 128;

// Whether long sums may be parked (cuda/sm90/parked_sums.cuh).
// Limit: registers of a consumer with this many columns, residues of w counted.
constexpr bool parks(int columns) { return columns < 192; }

// Consumer warpgroups. Limit: 64 K registers of an SM, half a row of sums each thread.
// Items that are shared take more of them beside.
constexpr int max_warpgroups(int slots, bool shared = false) {
  return !marches(slots) && !shared ? 4 : 3;
}

using sm90::kSharedBytes;
inline constexpr int kMaxInputStages = 6, kMaxWeightStages = 8, kMinWeightStages = 2;
// Bytes of a weight stage, where blocks are small: enough that its barriers do not show.
inline constexpr int64_t kWeightStageBytes = 24 * 1024;
// Bytes of a warp's buffer for lines of the output (lines.cuh), and of a channel in it: padded, or
// with halves that change places.
constexpr int line_pitch(int fused, int element_bytes) {
  const int bytes = 16 * fused * element_bytes;
  return bytes == 32 ? bytes : bytes + 16;
}
constexpr int line_bytes(int fused, int element_bytes) {
  return 8 * line_pitch(fused, element_bytes);
}
// The same for stretches of them, so many channels of a warpgroup (fused_lines.cuh).
constexpr int stretch_channels(int element_bytes) { return 64 / element_bytes; }
constexpr int stretch_pitch(int element_bytes) { return 2 * kGroupRows * element_bytes + 16; }
constexpr int stretch_bytes(int element_bytes) {
  return stretch_channels(element_bytes) / 4 * stretch_pitch(element_bytes);
}
// Limit: 64 positions of such are parts of no more lines than a warp has lanes.
inline constexpr int kMinStretchedPitch = 3;
// Of shared items a block has no more units than this (walk.cuh); limit: shared memory.
// Limit: a kernel's parameters say where each block begins, in 16 bits.
inline constexpr int kMaxSharingBlocks = 160;
inline constexpr int64_t kMaxSharedWork = 65535;
inline constexpr int kMaxSharedUnits = 48, kSharedUnitBytes = 20;
constexpr int64_t shared_unit_bytes(bool shared) {
  return shared ? (kMaxSharedUnits + 1) * kSharedUnitBytes / 16 * 16 + 16 : 0;
}
constexpr int64_t barrier_bytes() { return 16 * (kMaxInputStages + kMaxWeightStages) + 16; }

// Columns over out_channels. Measured: 48 -> 48, k5, in 64 columns 1.15 times implicit_gemm's time;
// 32 -> 16, k3x5x7, in 3 x 24 columns 0.4.
// k1 s2: memory is all that counts.
inline constexpr double kPlainPadding = 1.25, kMarchingPadding = 1.5, kBarePadding = 2;
// Measured: in 16 bits, 64 columns that do not march are 1.05 to 1.4 times as slow as implicit_gemm
// (32 -> 64 k3 s2 d2, 128 -> 64 k4 s2, 64 -> 64 k1x3x3); 384 -> 64, k3 s2, is faster.
inline constexpr int64_t kFewIn = 128, kFewOut = 64;
// And 32 columns of forward that do not march, in either layout. Measured, us, NCDHW: 56 -> 28 k4
// s2 469 against 318, 64 -> 32 k4 s2 on 2 x 32^3 112 against 89, 32 -> 32 k5 s2 129 against 98; in
// TF32 593 against 801, 163 against 199, 149 against 156.
inline constexpr int kFewColumns = 32;
// Measured: sums over the residues of 32 channels of grad_output in 16 bits take 2 to 2.3 times as
// long as in implicit_gemm, both from rows.
inline constexpr int64_t kFewSummed = 32;

// Estimates for the choice, in clocks of an SM.
inline constexpr double kLoadBytesPerClock = 24;    // L2 to an SM: less than 25 to 45, measured
inline constexpr double kOutputBytesPerClock = 18;  // 4.3 TB/s over 132 SMs at 1.8 GHz
// Lines of NCDHW: 32 elements of them, contiguous or every other one. Measured: 4 to 20 and 10
// to 15.
inline constexpr double kLineClocks = 10, kSparseLineClocks = 14;
// The same of fused residues, in pieces of 16 bytes. Measured, with positions between lines that
// are multiplied in vain: 64 -> 32 k3 s2 on 112 x 112 x 72 in bfloat16 435 us as pairs, 402 so, on
// 12 x 24 x 32 x 64 260 and 250; on 128 x 128 x 16, with 18 % more positions, 144 and 152.
inline constexpr int64_t kPieceBytes = 16;
inline constexpr double kPieceClocks = 9.5;
// Tiles of both residues of w: instructions of a warp for 16 channels, and for a stretch of them.
inline constexpr double kRoundClocks = 120, kStretchClocks = 140;
// Clocks over its estimate that cutting odd lines, with a stride, into strips takes: more ends, and
// sectors in part. Measured, us: 128 -> 64 k3 s2 on 40 x 80 x 80 in TF32 718 in one strip, 796 in
// two, 830 in four, in bfloat16 419 and 473; 32 -> 32 k3 s2 on 4 x 32 x 64 x 128 in bfloat16 480
// and 663 in one and two.
inline constexpr double kStripClocks = 1.2;
// Marching with fused residues of w, NCDHW: where blocks march apart, and where the residues of h
// of odd lines, which have sectors in common, are stored further apart than so many planes.
// Measured: 64 -> 32 k3 s2 on 112 x 112 x 72 in bfloat16 567 us, and side by side 435; 32 -> 32 k3
// s2 on 4 x 32 x 64 x 128 550 us, 502 in segments of 11 planes, 470 of 6 and 423 of 3; 64 -> 32 k3
// s2 on 12 x 24 x 32 x 64, 20 % of whose blocks would wait at the end, 260 and 323.
inline constexpr double kApartClocks = 1.15, kFarClocks = 1.15, kNearPlanes = 4;
inline constexpr int64_t kKeptBytes = int64_t{50} << 20;  // in L2
inline constexpr int64_t kMaxSegments = 64;               // limit: 32-bit products
inline constexpr double kSharedClocks = 1.15;             // of 128 bytes: the loads write meanwhile
inline constexpr double kIssueClocks = 2;                 // of a wgmma, beside its products
inline constexpr double kPlaneClocks = 250;               // a plane's or an item's start and end
inline constexpr double kItemClocks = 600;
// Of packing an input, read and written. Measured: 1.7 to 3 TB/s.
inline constexpr double kPackBytesPerClock = 13;
// Of packing a weight in grad_input, contiguous or element by element. Measured: 0.2 TB/s the
// latter, and four times that.
inline constexpr double kWeightBytesPerClock = 4, kStridedWeightBytesPerClock = 1;
// Shared items: what a plane and chunk takes beside its taps, in taps.
inline constexpr int kPlaneTaps = 2;
// Of sums that blocks exchange, for each part, and how much less they must take to be worth it.
// Measured: 2 to 5 us for a part.
inline constexpr double kJoinBytesPerClock = 32, kJoinClocks = 3500, kSharingClocks = 1.05;
// Of a launch that only counts parts at zero. Measured: 1.5 us.
inline constexpr double kZeroClocks = 2500;
// Clocks over its estimate that halo_gemm needs with stride 1, compared with implicit_gemm's.
// Measured: 1.1 to 1.2.
inline constexpr double kUnsummedClocks = 1.15;
// The same for forward in 32 columns, and in pairs of output planes in 16 bits. Measured: 1.1
// to 1.4.
inline constexpr double kNarrowClocks = 1.25, kPairClocks = 1.4;
// Clocks over its estimate that implicit_gemm needs where it gathers grad_output with a stride,
// compared with halo_gemm's. Measured: 1 to 3.
inline constexpr double kGatheredClocks = 1.6;
// The same where it reads rows, with many channels in grad_input. Measured: 1.1 to 1.5.
inline constexpr double kManyChannelsClocks = 1.3;
inline constexpr int64_t kManyChannels = 128;
inline constexpr int kMaxStrips = 8, kMinPitch = 16;
// Rows of a position that are batch items: fewer are too small a part of a warpgroup's. Limit: a
// kernel's parameters hold who does which lines.
inline constexpr int64_t kMinBatchRows = 24, kMaxBatchLines = 256;
// Clocks over its estimate that flat positions need, compared with those. Measured: 1.15 to 1.25.
inline constexpr double kFlatClocks = 1.15;
// Items per SM up to which their distribution is simulated.
inline constexpr int64_t kSimulated = 16;

}  // namespace convt3d::cuda::halo_gemm
