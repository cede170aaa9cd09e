// SPDX-License-Identifier: BSD-3-Clause
// Numbers of matrix_march_kernel.cuh.
#pragma once
#include <cstdint>

namespace convt3d::cuda::few_channels {

// Pairs that are multiplied at once; shared memory of a block, of two on an SM of 9.0; limit of the
// search: segments of d.
inline constexpr int kMarchStep = 3;
inline constexpr int64_t kMaxMarchShared = 113 * 1024;
inline constexpr int64_t kMaxSegments = 32;
// For the choice of a box, in clocks: a copy of each thread, a pair of a plane; bytes that come in
// a clock, sectors of memory being whole; and in planes: the start of a box.
inline constexpr int64_t kCopyClocks = 20, kMarchPairClocks = 150, kBoxPlanes = 2;
inline constexpr int64_t kMarchBytes = 12, kSectorBytes = 32;

// Where it pays, of 225 random problems (H200, 2026-11-22, no file). float32 in NDHWC: boxes of so
// many planes took 0.85 times as long; in NCDHW, whose lines come element by element: of so many,
// 0.9 times, and any where each plane starts a plane of results (stride 1 on d), 0.7 times. 16 bits
// in NDHWC: as many out channels times taps of a plane, or fewer in boxes of so many planes, 0.85
// times. It did not pay in TF32 (not measured) and in 16 bits in NCDHW (1.4 times as long).
inline constexpr int64_t kMinPlanes = 4, kMinPlanesNcdhw = 16;
inline constexpr int64_t kManyPlaneProducts = 128, kMinPlaneProducts = 72, kMinNarrowPlanes = 8;

}  // namespace convt3d::cuda::few_channels
