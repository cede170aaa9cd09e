// SPDX-License-Identifier: BSD-3-Clause
// Sums of plane_kernel.cuh that two blocks of a cluster share: each has half of the channels of
// grad_output, and stores half of those of grad_input, 8 of the 16 of a warp. A lane has one of
// them in the upper half of A's rows, and one of the other block's in the lower half
// (plane_launch.cuh packs them so).
#pragma once
#include "cuda/halo_gemm/mail.cuh"
#include "cuda/halo_gemm/plane_load.cuh"
#include "cuda/halo_gemm/plane_store.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// `result`: of the tile's first position and the block's first of 8 channels; `channels`, `lines`:
// that there are from there on.
template <int kColumns, int kRanks>
__device__ __forceinline__ void join_and_store(const PlaneParams& p, const PlaneShared& shared,
                                               float* result, int channels, int lines,
                                               uint32_t& parity, float (&sum)[kColumns / 2]) {
  constexpr int kPieces = kColumns / 16 / kPlaneMailParts;  // of two blocks of 8 columns
  static_assert(kRanks == 2 && kPieces * 16 * kPlaneMailParts == kColumns);
  const Mail<kRanks> mail(shared.mail, thread_here() / 32, plane_mail_bytes(kColumns, kRanks));
  const int channel = mail.lane / 4;
  // Positions of later lines are behind it.
  const int end = channel < channels ? lines * static_cast<int>(p.result_stride[3]) : 0;
  const uint32_t places = shared.places + mail.lane % 4 * 8;
  result += channel;
#pragma unroll
  for (int part = 0; part < kPlaneMailParts; ++part, parity ^= 1) {
    mail.start(parity);
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int at = (part * kPieces + i) * 8;
      mail.send(i, 1, sum[at + 2], sum[at + 3], sum[at + 6], sum[at + 7]);
    }
    mail.wait(parity);
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int at = (part * kPieces + i) * 8;
      const float4 more = mail.piece(i);
      sum[at] += more.x;
      sum[at + 1] += more.y;
      sum[at + 4] += more.z;
      sum[at + 5] += more.w;
    }
#pragma unroll
    for (int i = 0; i < kPieces * 8; ++i) {
      asm volatile("" : "+f"(sum[part * kPieces * 8 + i])::"memory");
    }
    mail.release();
#pragma unroll
    for (int b = 0; b < 2 * kPieces; ++b) {
      const int at = (part * 2 * kPieces + b) * 4;
      uint32_t place[2];
      load_words(place, places + at * 8);
      if (static_cast<int>(place[0]) < end) result[place[0]] = sum[at];
      if (static_cast<int>(place[1]) < end) result[place[1]] = sum[at + 1];
    }
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
