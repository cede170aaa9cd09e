// SPDX-License-Identifier: BSD-3-Clause
// The weights of a block on their way to wgmma.
#pragma once
#include <cstdint>
#include <type_traits>

#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/shuffle_gemm/resident_params.h"

namespace convt3d::cuda::shuffle_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// By all warpgroups: the chunks of a slice's strips, swizzled.
//
//   16 bits  [64 channels][64 columns], where TMA cannot
//   TF32     [64 columns][32 channels], rounded
//
// A thread has 16 bytes of a row at a time; neighbouring lanes have neighbouring columns.
template <Precision kPrecision, bool kRows>
__device__ __forceinline__ void fill_weight(const ResidentParams& p, const ResidentStages& shared,
                                            int slice, int threads) {
  using T = ElementOf<kPrecision>;
  using Bits = std::conditional_t<sizeof(T) == 2, unsigned short, uint32_t>;
  constexpr int kPieces = kResidentBytes / 16, kElements = 16 / sizeof(T), kTogether = 4;
  const int used = p.groups * p.width, all = p.strips * p.chunks * kPieces;
  const Bits* const weight = static_cast<const Bits*>(p.weight_data);
#pragma unroll 1
  for (int start = static_cast<int>(threadIdx.x); start < all; start += threads * kTogether) {
    Bits value[kTogether][kElements];
    uint32_t target[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int unit = start + i * threads, block = unit / kPieces;
      const int strip = block / p.chunks, chunk = block - strip * p.chunks;
      const int row = sizeof(T) == 2 ? unit / 8 % 64 : unit % 64;
      const int piece = sizeof(T) == 2 ? unit % 8 : unit / 64 % 8;
      target[i] = unit < all
                      ? shared.weight + block * kResidentBytes + row * 128 + (piece ^ row % 8) * 16
                      : 0;
#pragma unroll
      for (int e = 0; e < kElements; ++e) {
        int n = row, channel = chunk * 32;
        if constexpr (sizeof(T) == 2) {
          n = piece * 8 + e;
          channel = chunk * 64 + row;
        } else {  // K of NCDHW is permuted in eights
          channel += kRows ? piece * 4 + e : piece / 2 * 8 + piece % 2 + e * 2;
        }
        const int column = (slice * p.strips + strip) * used + n;
        const bool there = unit < all && n < used && column < p.columns && channel < p.depth;
        value[i][e] =
            there ? __ldg(weight + channel * p.weight_channel + column * p.weight_column) : Bits{0};
      }
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (target[i] == 0) continue;
      if constexpr (sizeof(T) == 2) {
        const auto two = [&](int e) { return value[i][e] | uint32_t{value[i][e + 1]} << 16; };
        store_shared(target[i], make_uint4(two(0), two(2), two(4), two(6)));
      } else {
        store_shared(target[i], make_uint4(round_to_tf32(value[i][0]), round_to_tf32(value[i][1]),
                                           round_to_tf32(value[i][2]), round_to_tf32(value[i][3])));
      }
    }
  }
  // wgmma reads them behind the barrier that follows.
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#endif

}  // namespace convt3d::cuda::shuffle_gemm
