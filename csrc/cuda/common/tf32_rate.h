// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace convt3d::cuda {

// Whether tensor cores multiply TF32 as slowly as the other units multiply float32: 128 products a
// clock and SM (vendor's peak rates). Three TF32 products for one of float32 do not pay there.
constexpr bool is_slow_in_tf32(int arch) { return arch == 86 || arch == 89 || arch >= 120; }

}  // namespace convt3d::cuda
