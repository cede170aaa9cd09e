// SPDX-License-Identifier: BSD-3-Clause
// Who does what in a block, and the registers of each: consumer warps first, then the producers
// that fill input stages, then the warp that copies weights.
#pragma once

namespace convt3d::cuda::implicit_gemm {

inline constexpr int kConsumerThreads = 256;

// Limits: 64 K registers of an SM, each role's a multiple of 8; fewer spill. Narrow tiles read much
// input for their products, wide ones need registers for sums.
template <int kColumns>
struct Roles {
  static constexpr bool kNarrow = kColumns <= 64;
  static constexpr int kProducerThreads = kNarrow ? 224 : 96;
  static constexpr int kThreads = kConsumerThreads + kProducerThreads + 32;
  static constexpr int kProducerRegisters = kNarrow ? 96 : 72;
  static constexpr int kConsumerRegisters = kNarrow ? 160 : 216;
  // 16-byte pieces that a producer loads element by element at a time.
  static constexpr int kPieces = kNarrow ? 4 : 2;
  // What a consumer may hold in sums and operands; the rest is for addresses.
  static constexpr int kOperandRegisters = kNarrow ? 104 : 140;
};

}  // namespace convt3d::cuda::implicit_gemm
