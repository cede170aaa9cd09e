// SPDX-License-Identifier: BSD-3-Clause
// Sums of gather_kernel.cuh that the blocks of a cluster share: each has part of the channels of
// grad_output, and adds to its own columns what the others have of them. Warps of the same number
// have the same positions. A plane's sums are sent when it is finished, and joined after the next
// stages, so that nobody waits for them.
//
//   a block's columns   | own | of rank + 1 | of rank + 2 ..      (gather_launch.cuh packs them so)
//                               |
//                               v
//   mail of its warp    | from rank - 1 | from rank - 2 ..
#pragma once
#include "cuda/halo_gemm/gather_params.h"
#include "cuda/halo_gemm/mail.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <int kColumns, int kRanks>
__device__ __forceinline__ Mail<kRanks> gather_mail(const GatherShared& shared) {
  return {shared.mail, thread_here() / 32, gather_mail_bytes(kColumns, kRanks)};
}

template <int kColumns, int kRanks>
__device__ __forceinline__ void send_sums(const GatherShared& shared, uint32_t parity,
                                          const float (&sum)[kColumns / 2]) {
  constexpr int kOwned = kColumns / kRanks / 2;
  const auto mail = gather_mail<kColumns, kRanks>(shared);
  mail.start(parity);
#pragma unroll
  for (int at = kOwned; at < kColumns / 2; at += 4) {
    mail.send((at - kOwned) / 4, at / kOwned, sum[at], sum[at + 1], sum[at + 2], sum[at + 3]);
  }
}

template <int kColumns, int kRanks>
__device__ __forceinline__ void receive_sums(const GatherShared& shared, uint32_t parity,
                                             float (&own)[kColumns / kRanks / 2]) {
  constexpr int kOwned = kColumns / kRanks / 2;
  const auto mail = gather_mail<kColumns, kRanks>(shared);
  mail.wait(parity);
#pragma unroll
  for (int at = 0; at < (kRanks - 1) * kOwned; at += 4) {
    const float4 more = mail.piece(at / 4);
    own[at % kOwned] += more.x;
    own[at % kOwned + 1] += more.y;
    own[at % kOwned + 2] += more.z;
    own[at % kOwned + 3] += more.w;
  }
#pragma unroll
  for (int i = 0; i < kOwned; ++i) asm volatile("" : "+f"(own[i])::"memory");
  mail.release();
}

#endif

}  // namespace convt3d::cuda::halo_gemm
