// SPDX-License-Identifier: BSD-3-Clause
// How many wgmma instructions may add to one accumulator. Tensor cores truncate as they add:
// measured 1.6e-8 to 1.8e-8 of the sum per instruction (grad_input of 256 -> 128 and 512 -> 256,
// k3 s2: 216 of them in bfloat16 and 864 in TF32 exceed the error rule). That rule
// (docs/numerics.md) leaves a sum of K products 6e-8 sqrt(K) in 16 bits, 16 products an
// instruction, and 1.5e-5 in TF32.
#pragma once
#include <cstdint>

#include "plan/description.h"

namespace convt3d::cuda::sm90 {

constexpr int max_chain(Precision precision) { return precision == Precision::tf32 ? 800 : 210; }

// Bytes for the sums of `threads` threads, of which each has `sums`, in every block.
constexpr int64_t parked_bytes(int64_t blocks, int64_t threads, int64_t sums) {
  return blocks * threads * sums * 4;
}

}  // namespace convt3d::cuda::sm90
