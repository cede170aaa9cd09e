// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include "cuda/implicit_gemm/config.h"

namespace convt3d::cuda::mma_gemm {

using implicit_gemm::Config;

// Without a box that fits, the result has no columns.
Config choose(const Description& description, const Device& device);

}  // namespace convt3d::cuda::mma_gemm
