// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cstdint>

namespace convt3d::cuda {

// Limit: shared memory of a block (CUDA C++ Programming Guide, technical specifications).
constexpr int64_t shared_bytes(int arch) {
  switch (arch) {
    case 80:
    case 87:
      return 166912;
    case 90:
    case 100:
    case 103:
    case 110:
      return 232448;
    default:  // 8.6, 8.9, 12.x: the least of all
      return 101376;
  }
}

}  // namespace convt3d::cuda
