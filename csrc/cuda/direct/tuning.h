// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the direct family: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

namespace convt3d::cuda::direct {

// Tile of the tiled scheme: rows x columns x depth, 256 threads of 8 x (columns / 16) sums.
inline constexpr int kTileM = 128;
inline constexpr int kTileK = 16;
inline constexpr int kTiledThreads = 256;

// Most pairs summed in one chain; their sums are added up in a second one. A chain of n roundings
// has a relative error near 2.6e-8 sqrt(n / 2) in fp32: 2e-7 here.
inline constexpr int kRunK = 128;
// Of gathered sums, which are short: 136 products (17 -> 5, k4 s2) were 1.9e-7 off with 128,
// torch's 0.9e-7.
inline constexpr int kGatherRunK = 64;

// Threads of a gather block, and rows that each of them keeps.
inline constexpr int kGatherThreads = 128;
inline constexpr int kGatherRows = 4;
// Rows on one axis that a thread of the depthwise scheme keeps.
inline constexpr int kRun = 8;
// At most this many result channels per group are gathered; a tile of 32 would be mostly idle.
inline constexpr int64_t kGatherChannels = 8;

// outputs: threads of a block, and what each keeps on w and of images. It takes forward with long
// strides (cuda/common/resident.h). Measured on an H200, fp32: 5 us
// instead of 78 for AHNet's crop (64 x 64 taps).
inline constexpr int kOutputsThreads = 128;
inline constexpr int kOutputsW = 4;
inline constexpr int kOutputsN = 2;

// resident: threads of a block; cuda/common/resident.h has what it takes.
inline constexpr int kResidentThreads = 288;
// Limit: registers. A block takes more residues of h while this many blocks are left for each SM.
inline constexpr int kResidentBlocksPerSm = 2;

// taps: threads of a block, and its taps, each with the threads that are left for its positions;
// one in channel: fewer, where blocks of more do not occupy the SMs.
inline constexpr int kTapsThreads = 512, kTapsOfBlock = 128, kFewTapsOfBlock = 32;

// Taps that one thread of the gathered grad_weight keeps, for 1 and for 8 input channels: register
// limit (8 * 7 sums).
inline constexpr int kGatherTaps1 = 9;
inline constexpr int kGatherTaps8 = 7;

// Threads of a warp that may take neighbouring groups.
inline constexpr int kMaxGroupLanes = 32;

// Blocks per SM that a split sum aims for.
inline constexpr int64_t kTiledBlocksPerSm = 8;
inline constexpr int64_t kGatherBlocksPerSm = 32;
// Positions that one sum of grad_weight takes while the workspace allows. The gathered one has no
// second chain, and cuDNN's error is 0.9e-7 where it is used: 128 would be twice that.
inline constexpr int64_t kMaxThreadPositions = 64;
inline constexpr int64_t kMaxTiledPositions = 256 * kRunK;
// A split has at least this many positions, so that the final sum stays small.
inline constexpr int64_t kMinSplitPositions = 512;
// Bound of grad_weight's workspace, unless one copy of the weight alone is larger.
inline constexpr int64_t kMaxPartialBytes = int64_t{64} << 20;

// Coordinates are 32-bit up to here, so that the sum of two never wraps into a source.
inline constexpr int64_t kMaxCoordinate = int64_t{1} << 30;

}  // namespace convt3d::cuda::direct
