// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include "cuda/common/shared_limit.h"

namespace convt3d::cuda::sm90 {

// Limit: shared memory of a block.
inline constexpr int kSharedBytes = static_cast<int>(shared_bytes(90));

}  // namespace convt3d::cuda::sm90
