// SPDX-License-Identifier: BSD-3-Clause
// Numbers of the cluster_weight family: "limit" says which, "estimate" serves the choice of a cut.
#pragma once
#include <cstdint>

#include "cuda/sm90/shared_bytes.h"

namespace convt3d::cuda::cluster_weight {

inline constexpr int kArch = 90;
inline constexpr int kWarps = 8, kLoadWarps = 4;  // that multiply, and that load
inline constexpr int kSumThreads = 32 * kWarps, kLoadThreads = 32 * kLoadWarps;
inline constexpr int kThreads = kSumThreads + kLoadThreads;
inline constexpr int kColumns = 128;  // of a block
// Of an operand in shared memory, K along it: rows of 128 bytes, swizzled, of four wgmmas.
inline constexpr int kPanelRow = 128;
using sm90::kSharedBytes;
// Limit: shared memory of one of two blocks on an SM, of whose 228 KB the system has 1 KB for each.
inline constexpr int kPairBytes = 113 * 1024;
inline constexpr int kMaxStages = 8;
// Barriers, and where the lines of a tile of columns begin: 64 of them at most.
inline constexpr int kSumsFull = 16 * kMaxStages;
inline constexpr int kTableAt = kSumsFull + 128, kTableBytes = kTableAt + 256;
// Registers of the two roles' threads. Limit: together what two blocks of 80 on an SM leave.
inline constexpr int kSumRegisters = 96, kLoadRegisters = 48;
// Measured: of 16 clusters of 8 some wait for their places; 28 of 4 do not, of one block on an SM.
inline constexpr int kMaxSplits = 4;
inline constexpr int64_t kMaxClustered = 112;
// Limit: 32-bit offsets of elements.
inline constexpr int64_t kMaxElements = int64_t{1} << 31;
inline constexpr int64_t kMaxExtent = int64_t{1} << 20;
// Fewer channels leave most of a tile empty; float32 sums of fewer positions have a smaller error
// product by product.
inline constexpr int64_t kMinIn = 48, kMinColumns = 96, kMinSum = 16;

// Measured on an H200, in clocks of an SM of 1.75 GHz (k = s layers, 64 to 8192 positions, cold
// L2): copies of 16, 8, 4 and 2 bytes, float32's products of an in_channel, 8 positions and 128
// columns, the start, a block's end, and a cluster's.
inline constexpr int kTunedSms = 132;
inline constexpr double kCopyBytesPerClock[] = {20, 9.3, 6, 1.7};
inline constexpr double kProductClocks = 7;
inline constexpr double kStartClocks = 11500, kEndClocks = 2000, kTallEndClocks = 7000;
inline constexpr double kClusterClocks = 2700;

// What the families behind this one take at least, fitted to the same layers: a start, clocks for a
// megabyte of the tensors and for 1e9 multiplications (beyond kMostProducts they are faster), and
// for lines that are no multiples of 16 bytes.
struct Others {
  double start, megabyte, products, odd_lines;
};
inline constexpr Others kNarrowRows{14000, 1450, 0, 0}, kNarrowLines{23600, 1750, 0, 7000};
inline constexpr Others kTf32Rows{15700, 850, 24500, 0}, kTf32Lines{18400, 870, 28000, 23000};
inline constexpr Others kFullRows{22100, 1050, 31500, 0}, kFullLines{22700, 1050, 31500, 16000};
inline constexpr double kMostProducts = 0.75;
// Of the two estimates, which are some per cent off.
inline constexpr double kMargin = 1.05;

}  // namespace convt3d::cuda::cluster_weight
