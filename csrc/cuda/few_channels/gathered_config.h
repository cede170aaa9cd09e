// SPDX-License-Identifier: BSD-3-Clause
// Gradients of very many taps over few positions, as products on the tensor cores. Plain C++: the
// planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "cuda/few_channels/tuning.h"
#include "plan/description.h"

namespace convt3d::cuda::few_channels {

// Bytes of depth that are multiplied at once, and of a row of them in shared memory: eight rows
// that ldmatrix reads lie in banks of their own.
inline constexpr int kTapChunk = 128;
inline constexpr int kTapPitch = kTapChunk + 16;
inline constexpr int kTapWarps = 8;
inline constexpr int kTapThreads = 32 * kTapWarps;
// Positions (grad_input), or taps (grad_weight), of a block: 16 of a warp.
inline constexpr int kTapRows = 16 * kTapWarps;
// Floats between a block's sums of two in channels: in banks of their own.
inline constexpr int kTapSumsPitch = kTapRows + 4;
// In channels of a block, where a group has more than 16.
inline constexpr int kTapIns = 64;
// Elements of the gathered operand that a thread has in flight.
inline constexpr int kTapLoads = 16;
// Blocks on an SM that the splits of grad_input aim for.
inline constexpr int64_t kTapBlocksPerSm = 2;
// grad_input of at most so many in channels a group goes to taps_kernel where its blocks, of so
// many positions, are as many on each SM: 215 us against 217 for 4 in channels (k16 s8, 20^3,
// bf16), 2.4 ms against 3.8 for one (k33 s9, 30^3).
inline constexpr int64_t kFewTapIns = 4, kTapCells = 4, kManyTapBlocksPerSm = 8;
// Threads that share a result's parts, and results of a block of those.
inline constexpr int kTapSlices = 8, kTapResults = kThreads / kTapSlices;
// float32: chunks that one sum is made of, as roundings walk (implicit_gemm/tuning.h).
inline constexpr int64_t kMaxGatheredSum = 512;
// Limit: fields of 9 bits for a tap on an axis, of which one value is none.
inline constexpr int64_t kMaxAxisTaps = 511;

struct GatheredConfig {
  int64_t tile_ins, in_tiles, row_tiles;
  int64_t own_chunks, splits;  // the depth of a block, in chunks; grad_weight has one split
  int64_t blocks;
};

// grad_input of so many taps, but of few in channels a group where results are many; and
// grad_weight, where it is over few positions too.
bool gathered_fits(const Description& description, const Device& device);
GatheredConfig choose_gathered(const Description& description, const Device& device);
int64_t gathered_workspace_bytes(const Description& description, const Device& device);
std::string to_string(const GatheredConfig& config);

}  // namespace convt3d::cuda::few_channels
