// SPDX-License-Identifier: BSD-3-Clause
// Numbers of gather_kernel.cuh: "limit" says which, "estimate" serves the choice of a cut.
#pragma once
#include <cstdint>

namespace convt3d::cuda::line_weight {

inline constexpr int kGatherKernel = 3, kGatherStride = 2;  // along h and w
inline constexpr int kGatherSlabs = kGatherKernel * kGatherKernel;
// Limit: the sums of a warpgroup, kGatherSlabs * kGatherColumns / 2 of a thread.
inline constexpr int kGatherColumns = 32, kGatherRows = 64, kGatherGroups = 2;
inline constexpr int kGatherDepthBytes = 32;  // of an instruction's positions
constexpr int gather_depth(int element_bytes) { return kGatherDepthBytes / element_bytes; }
// Channels from one to the next whose lines begin at the same place of 16 bytes.
constexpr int gather_group(int element_bytes) { return 16 / element_bytes; }
// Bytes of grad_output before those of a chunk's first position, where TMA loads.
inline constexpr int kGatherLead = 16;
// Beside those of its positions: for its last taps, and so that four lines are in all banks.
inline constexpr int kGatherBoxBytes = 32, kGatherBoxAlign = 128;
// Instructions of a line in a stage; short lines are several, of so many together.
inline constexpr int kGatherMaxDepths = 9, kGatherDepths = 4;
inline constexpr int kGatherCuts = 8;  // of a line, that are tried
inline constexpr int kGatherMinStages = 3, kGatherMaxStages = 8;
inline constexpr int kGatherInputAlign = 16, kGatherMaxBox = 256;  // limits: TMA; elements
inline constexpr int kGatherAlign = 1024;
inline constexpr int64_t kGatherShared = 227 * 1024 - kGatherAlign - 256;
// Three warps of producers copy lines, kGatherLanes threads a line, the fourth loads boxes.
inline constexpr int kGatherCopiers = 96, kGatherLanes = 4;
inline constexpr int kGatherCopied = kGatherCopiers / kGatherLanes / 2;  // rows at once
static_assert(kGatherCopied % 2 == 0 && kGatherCopied % 3 == 0);         // any taps of d

// Estimates in clocks of an SM, from the layers of docs/kernels/line_weight.md: of loads from L2, a
// line and its bytes; of a stage, what its use of shared memory is multiplied by, and its drain.
inline constexpr double kGatherLineClocks = 2.4, kGatherBytesPerClock = 40;
inline constexpr double kGatherShareClocks = 1.2, kGatherStepClocks = 300;
// What halo_weight (TF32: view_weight) takes of tuning.h's estimate for rows of channels there, and
// tap_gemm, which has lines that begin on 16 bytes and fills its tiles better.
inline constexpr double kRowShare = 0.8, kViewShare = 0.65, kTapShare = 0.55, kTapFull = 0.5;
// Eight rows' words for one instruction and all taps along w, where lines begin on 16 bytes; where
// they do not, and come by copies, or in boxes.
inline constexpr double kGatherWordClocks = 16, kGatherOddClocks = 24, kGatherBoxClocks = 20;

}  // namespace convt3d::cuda::line_weight
