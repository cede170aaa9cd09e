// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cstdint>

namespace convt3d::cuda::sm90 {

// Whether a block's shared memory holds enough rows of `from` and `to` elements (row_copy.h).
constexpr bool can_copy_rows(int64_t from, int64_t to, int64_t element_bytes) {
  return (from > to ? from : to) * element_bytes <= 8 * 1024;
}

}  // namespace convt3d::cuda::sm90
