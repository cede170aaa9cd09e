// SPDX-License-Identifier: BSD-3-Clause
// Numbers of grad_input by whole patches: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

namespace convt3d::cuda::shuffle_gemm {

// Two warpgroups of 64 positions each, and a warp that copies.
inline constexpr int kPatchRows = 128;
inline constexpr int kPatchConsumers = 256;
inline constexpr int kPatchThreads = kPatchConsumers + 32;
// Of K in a chunk: a row of the 128-byte swizzle.
inline constexpr int kPatchChunk = 128;
inline constexpr int kPatchSourceBytes = kPatchRows * kPatchChunk;
// Limit: 227 KB for a block; less the barriers.
inline constexpr int64_t kPatchShared = 227 * 1024 - 512;
inline constexpr int kPatchMaxStages = 8;
// Lines (td, th) of a patch in NDHWC, each with a tensor map among the kernel's parameters (4 KB).
inline constexpr int64_t kPatchMaxLines = 16;
// Sums on the tensor cores run through at most this many instructions (docs/numerics.md).
inline constexpr int64_t kPatchChain = 512;
// Limit: the largest cluster that every device launches.
inline constexpr int64_t kPatchMaxSplits = 8;
// Limit: elements of a box of a tensor map on one axis.
inline constexpr int64_t kPatchMaxBox = 256;

// For the choice: bytes that L2 brings an SM per clock, and clocks of a tile's end, of its sums'
// way through a cluster, and of the first chunk's arrival.
inline constexpr double kPatchBytesPerClock = 35;
inline constexpr double kPatchTileClocks = 600;
inline constexpr double kPatchSplitClocks = 2500;
inline constexpr double kPatchStartClocks = 1500;

}  // namespace convt3d::cuda::shuffle_gemm
