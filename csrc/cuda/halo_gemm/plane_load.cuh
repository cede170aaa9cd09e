// SPDX-License-Identifier: BSD-3-Clause
// The producer of plane_kernel.cuh: a stage is the lines of grad_output of one residue of h that a
// tile reads in a plane, by TMA.
//
//   32 channels, even lines: one box, two neighbours in a row of 128 bytes   | 2x .. | 2x + 1 .. |
//   else: for each residue of w a box of rows of 64 bytes, every other position of each line
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_gemm/mail.cuh"
#include "cuda/halo_gemm/plane_params.h"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"

namespace convt3d::cuda::halo_gemm {

struct PlaneMaps {
  CUtensorMap of[2][2];  // residues of h, and of w; the latter 0 where both are in a row
  int first[2];          // position of row 0 of it
};

// Addresses in shared memory.
struct PlaneShared {
  uint32_t weights, slots;
  uint32_t places, weights_full, full, empty;
  MailPlaces mail;

  __device__ PlaneShared(const PlaneParams& p, uint32_t start) {
    weights = (start + kPlaneAlign - 1) / kPlaneAlign * kPlaneAlign;
    slots = weights + (p.weight_bytes + kPlaneAlign - 1) / kPlaneAlign * kPlaneAlign;
    places = slots + p.slots * p.slot_bytes;
    mail.sums = places + kPlanePlaceBytes;
    weights_full = mail.sums + p.mail_bytes;
    full = weights_full + 8;
    empty = full + 8 * kPlaneMaxSlots;
    mail.full = empty + 8 * kPlaneMaxSlots;
    mail.taken = mail.full + 8 * 4 * kPlaneGroups;
  }
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// What a thread has written is for the tensor cores.
__device__ __forceinline__ void plane_fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// One warp.
__device__ __forceinline__ void load_boxes(const PlaneParams& p, const PlaneShared& shared,
                                           const PlaneMaps& maps) {
  const int lane = threadIdx.x % 32;
  const int first_source = blockIdx.x % p.ranks * p.rank_sources;
  sm90::Ring ring;
  PlaneWalk walk(p);
  const auto load = [&](int u, int r, int half) {  // residues of h and w
    const int lines = p.lines + p.taps(1, r) - 1;
    const uint32_t slot = shared.slots + ring.stage * p.slot_bytes;
    const uint32_t full = shared.full + 8 * ring.stage;
    sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
    if (p.extra > 0) {
      const uint32_t behind = slot + lines * p.pitch * kPlaneRowBytes;
      for (int i = lane; i < p.extra * (kPlaneRowBytes / 16); i += 32) {
        store_shared(behind + i * 16, uint4{});
        if (!p.split) store_shared(behind + p.class_bytes + i * 16, uint4{});
      }
      plane_fence();
      __syncwarp();
    }
    if (lane == 0) {
      sm90::barrier_arrive_expect(full, (p.split ? 1 : 2) * lines * p.pitch * kPlaneRowBytes);
      const int end = p.paired || (p.split && half == 0) ? 1 : 2;
      for (int w = half; w < end; ++w) {
        sm90::load_box(slot + (p.split ? 0 : w * p.class_bytes), &maps.of[r][w], full, first_source,
                       maps.first[w], p.stride[1] * walk.first_line + r - p.padding[1],
                       u - p.padding[0], walk.item);
      }
    }
    ring.next(p.slots);
  };
  while (walk.next(p)) {
    for (int u = walk.first; u <= walk.last; ++u) {
      if (!walk.loads(p, u)) continue;
      for (int r = 0; r < p.stride[1] && p.taps(1, r) > 0; ++r) {
        load(u, r, 0);
        if (p.split) load(u, r, 1);
      }
    }
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
