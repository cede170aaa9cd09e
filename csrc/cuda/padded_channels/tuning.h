// SPDX-License-Identifier: BSD-3-Clause
// Numbers of padded_channels, each with where it comes from.
#pragma once
#include <cstdint>

namespace convt3d::cuda::padded_channels {

inline constexpr int64_t kAlign = 512;  // of copies: as torch allocates
inline constexpr int64_t kRowBytes = 16;
// Limits: 32-bit numbers of a weight's elements; a grid of blocks of a few rows each.
inline constexpr int64_t kMaxWeight = int64_t{1} << 30, kMaxRows = int64_t{1} << 32;

// Bytes of input, weight and output from which copies are worth their launches. Measured, H200:
// 384 -> 65 k3 s2 on 4 x 6^3, forward, 48 instead of 38 us in bfloat16 (2.9 MB), 70 instead of 63
// in TF32 (5.8 MB), but 79 instead of 92 with 385 of in_channels; with kernel = stride 5 to 12
// MB, 1.1 to 2.7 times shuffle_gemm's time, and 0.5 to 0.75 of it from 21 MB on.
inline constexpr int64_t kMinBytes = int64_t{4} << 20, kMinShuffledBytes = int64_t{16} << 20;
// Measured: grad_input of 64 -> 31 k3 s2, 112 x 112 x 72, bfloat16, 406 instead of 740 us, 33 833
// instead of 865.
inline constexpr int64_t kMarchedChannels = 32;
// Of so many out_channels in 16 bits halo_gemm has two tiles of 24, 48 bytes each. Measured: 33 as
// 40, k3 s2, forward, 1.12 to 1.21 times as long as in implicit_gemm; 65 as 72 0.81.
inline constexpr int64_t kWholeColumns = 32, kPartColumns = 48;
// Not measured with fewer.
inline constexpr int64_t kMinChannels = 15;

}  // namespace convt3d::cuda::padded_channels
