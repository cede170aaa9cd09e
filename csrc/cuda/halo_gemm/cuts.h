// SPDX-License-Identifier: BSD-3-Clause
// How a configuration cuts the work: positions into tiles, shared memory into stages, long sums
// into parts. In this order; each fills in its part of `config`.
#pragma once
#include <array>

#include "cuda/halo_gemm/config.h"
#include "cuda/halo_gemm/estimate.h"

namespace convt3d::cuda::halo_gemm {

// Flat positions of this many strips; false where TMA or shared memory does not hold them.
bool choose_positions(const Shape& shape, int strips, Config* config);
// Divides shared memory into stages; false if it does not do.
bool choose_stages(const Shape& shape, Config* config);
// Where the tensor cores' sums must be added up in parts; false where a chunk alone is too long.
bool choose_parking(const Shape& shape, Config* config);
// Numbers of blocks that may share all items equally: as many as there are; where items are equal,
// so many that each has equal parts; and one for each item. 0: they cannot.
std::array<int, 3> sharing_blocks(const Shape& shape, const Config& config);

}  // namespace convt3d::cuda::halo_gemm
