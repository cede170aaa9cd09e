// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the few_channels family: "limit" says which, "measured" where and how much.
#pragma once
#include <cstdint>

#include "cuda/sm90/chain.h"

namespace convt3d::cuda::few_channels {

inline constexpr int kThreads = 128;

// Sums of one thread, cells x residues on w x out channels: register limit. Where the sum is long
// there are two of each.
inline constexpr int kMaxSums = 64;
inline constexpr int kMaxLongSums = 32;
// Cells on the run axis of one thread, at most.
inline constexpr int kMaxCells = 8;
// Pairs summed in one chain; a chain of n roundings has a relative error near 2.6e-8 sqrt(n / 2).
inline constexpr int kChain = 128;
// Threads with eight out channels have one chain only: 4e-7 at this length, in 16 bits; in float32
// kChain is the most (16 -> 8, k3, 432 products: 2.8e-7 against torch's 1.0e-7).
inline constexpr int64_t kMaxSingleChain = 512;

// Longer kernels on w have no instance in forward; `direct` was measured as fast (7 taps: 0.52 ms
// against 0.55 for KernelBench 72, 1.25 against 1.57 for 64 channels of 7^3).
inline constexpr int64_t kMaxTapsW = 4;

// scatter: register limit of 2 x 64 shares a thread. 4 x 32, which reads fewer weights from shared
// memory, was measured 10 % slower.
inline constexpr int kScatterThreads = 256;
inline constexpr int kOwnPositions = 2;
inline constexpr int kPositions = kScatterThreads * kOwnPositions;
// Fewer in channels do not pay for the exchange through shared memory.
inline constexpr int64_t kMinScatterIns = 12;
// More out channels are more passes over the input.
inline constexpr int64_t kMaxScatterOuts = 2;

// Gradients with at least this many taps: a block sums those of a few results, or
// gathered_config.h.
inline constexpr int64_t kMinLongTaps = 1024;

// Threads that share the in channels of a cell: with four fp32 channels each they read 128 bytes.
inline constexpr int kReductionLanes = 8;
// Most threads side by side on out channels: one warp.
inline constexpr int kMaxLanes = 32;

// At most this many out channels, or in channels, per group. Beyond, a matrix product pays.
inline constexpr int64_t kMaxOuts = 8;
inline constexpr int64_t kMaxIns = 4;

// Residues on d and h come in a table of this size, in the kernel's parameters.
inline constexpr int64_t kMaxStride = 16;
// Limit of compute capability 8.6, 8.9 and 12.0: 99 KB of shared memory for a block.
inline constexpr int64_t kMaxShared = 96 * 1024;
// Weights of neighbouring channels in one block while they leave room for four blocks on an SM.
inline constexpr int64_t kWantedShared = kMaxShared / 2;
// Coordinates and counts are 32-bit; sums of two never wrap.
inline constexpr int64_t kMaxExtent = int64_t{1} << 29;
inline constexpr int64_t kMaxCount = int64_t{1} << 30;

// grad_weight. Positions side by side in a warp of planes, cells of a thread with one or two
// channels (others half of them: registers), and sums of a thread that meet in shared memory at
// once.
inline constexpr int kPlaneLanes = 32;
inline constexpr int kMaxWeightCells = 8;
inline constexpr int kSumsPerRound = 16;
// Limit: jobs on the run axis come in a table of this size, in the kernel's parameters.
inline constexpr int64_t kMaxTapsRun = 64;
// Fewer positions are `direct`'s: 0.06 ms against 0.14 for 128 positions and 1.2 million weights.
inline constexpr int64_t kMinWeightPositions = 256;
// Positions that one sum takes, for the sake of its error; less than kMinSteps runs do not pay for
// the end of a block.
inline constexpr int64_t kMaxSumPositions = 512;
inline constexpr int64_t kMinSteps = 4;
inline constexpr int64_t kWeightBlocksPerSm = 12;
// Bound of the workspace.
inline constexpr int64_t kMaxPartBytes = int64_t{64} << 20;

// The tensor cores' kernels: channels of a chunk (16 bytes), threads and positions of a block, and
// pairs of taps of a warp of grad_weight with so many chunks of in channels (register limit).
inline constexpr int kChunk = 8;
inline constexpr int kMatrixWarps = 8;
inline constexpr int kMatrixThreads = 32 * kMatrixWarps;
inline constexpr int kMatrixPositions = 256;
constexpr int matrix_pairs(int blocks) { return blocks == 1 ? 14 : 4; }
// Instructions that one sum of the tensor cores runs through, which truncate: docs/numerics.md.
inline constexpr int kMaxInstructions = sm90::max_chain(Precision::bf16);
// Chunks with at most this many channels are loaded by a loop of their own.
inline constexpr int kNarrowChunk = 2;
// Where a group has less channels, most of a chunk is zeros.
inline constexpr int64_t kMinMatrixChannels = 8;
// For the choice of a box: clocks of a chunk staged, of a pair of taps multiplied, and chunks that
// the start of a row costs.
inline constexpr double kStageClocks = 0.25;
inline constexpr double kPairClocks = 80;
inline constexpr int64_t kRowChunks = 16;

// Blocks per SM that a launch aims for: many while the weights are loaded at no cost.
inline constexpr int64_t kCheapWeights = 1024;
inline constexpr int64_t kBlocksPerSm = 32;
inline constexpr int64_t kResidentBlocksPerSm = 8;

// in_channels times out_channels up to which strided NCDHW stays here, against weight_gemm.
inline constexpr int64_t kFewPairs = 2048;
// grad_weight: positions of input and of output. Of 145 random problems with 2 channels and more
// weight_gemm took 0.7 times as long (H200, 2026-11-22, no file); it takes 5 and more.
inline constexpr int64_t kFewPositions = 268, kFewOutputs = 26304;
// The same in 16 bits, where taps times pairs of channels are so many: 38 problems, 0.6 times.
inline constexpr int64_t kManyWeights = 15000;
// Measured, 16 bits: of 384 x 5 channels weight_gemm computes grad_weight 4 to 8 times as fast,
// though it pads 5 to 16; of 256 x 1 and 16 x 8 half as fast.
inline constexpr int64_t kMinMatrixSide = 5, kManyPairs = 1024;

}  // namespace convt3d::cuda::few_channels
