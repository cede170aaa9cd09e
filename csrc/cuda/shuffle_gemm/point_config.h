// SPDX-License-Identifier: BSD-3-Clause
// Pointwise layers of few channels, on the CUDA cores (point_kernel.cuh). Plain C++: the planner is
// built without CUDA.
#pragma once
#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::shuffle_gemm {

// Limits of the kernels: results of a position that are summed at once, and the channels whose
// weights are in shared memory.
inline constexpr int kPointColumns = 32, kPointDepth = 64;
inline constexpr int kPointThreads = 128;
// Positions of a tile: two of each thread in NCDHW; in NDHWC eight threads share eight.
inline constexpr int kPointLine = 2 * kPointThreads, kPointRows = kPointThreads;
// NDHWC: results of a position that a thread has; eight threads have all.
inline constexpr int kPointQuad = 4;
// NCDHW: channels whose loads are under way at the same time.
inline constexpr int kPointStep = 8;

// Fewer do not fill the device.
inline constexpr int64_t kPointPositions = 1 << 16;
// Products of a position, up to which the CUDA cores take less time than memory (128 products a
// clock of an SM, which reads or writes 19 bytes), so that TF32 gains nothing by tensor cores.
inline constexpr int64_t kPointProducts = 512;
// Measured on an H200, us, here / tensor cores, 32->14 in 2x128^3: grad_input in float32 240 / 601
// in NCDHW, 214 / 566 in NDHWC, in TF32 254 / 334 and 217 / 265, in bfloat16 340 / 249; forward in
// NCDHW in float32 201 / 416, in TF32 213 / 212.

// Whether a pointwise layer goes there.
bool points_fit(const Description& description);

}  // namespace convt3d::cuda::shuffle_gemm
