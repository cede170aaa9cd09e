// SPDX-License-Identifier: BSD-3-Clause
// The producers of gather_kernel.cuh: a stage is some channels of a plane's lines, as they lie in
// memory. A channel's lines are one run of bytes; its pieces of 16 are copied. It begins where it
// does in memory modulo 32, up to 31 bytes behind the start of its place:
//
//   slot  | lead | channel 0: shift, lines ... | lead | channel 1: ...      `pitch` apart
//
// Lines outside grad_output are zeros (but for pieces that they share with others).
//
// Aligned lines: a stage is one box of TMA, channels and lines without anything before them.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_gemm/gather_params.h"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// One thread.
template <typename T>
__device__ __forceinline__ void load_boxes(const GatherParams& p, const GatherShared& shared,
                                           const CUtensorMap* lines) {
  constexpr int kChannels = kGatherChunkBytes / static_cast<int>(sizeof(T));
  const int first_chunk = blockIdx.x % p.ranks * p.chunks;
  sm90::Ring ring;
  GatherWalk walk(p);
  while (walk.next(p)) {
    for (int u = kGatherStride * walk.from; u <= kGatherStride * walk.to; ++u) {
      if (!GatherWalk::there(p, u)) continue;
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        const uint32_t full = shared.full + 8 * ring.stage;
        sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
        sm90::barrier_arrive_expect(full, kChannels * p.pitch);
        sm90::load_box(shared.slots + ring.stage * p.slot_bytes, lines, full, 0,
                       walk.first_source(p), (first_chunk + chunk) * kChannels, u - p.padding[0],
                       walk.item);
        ring.next(p.slots);
      }
    }
  }
}

template <typename T>
__device__ __forceinline__ void load_lines(const GatherParams& p, const GatherShared& shared) {
  constexpr int kBytes = sizeof(T), kChannels = kGatherChunkBytes / kBytes;
  constexpr int kLanes = 128 / kChannels;  // of a channel
  const int thread = threadIdx.x % 128, channel = thread / kLanes, lane = thread % kLanes;
  const int first_chunk = blockIdx.x % p.ranks * p.chunks;
  sm90::Ring ring;
  GatherWalk walk(p);
  while (walk.next(p)) {
    const int first = walk.first_source(p), lines = kGatherStride * p.lines + 1;
    const int line_bytes = p.source_extent[2] * kBytes;
    const int begin = max(-first, 0) * line_bytes;
    const int end = min(lines, p.source_extent[1] - first) * line_bytes, all = lines * line_bytes;
    for (int u = kGatherStride * walk.from; u <= kGatherStride * walk.to; ++u) {
      if (!GatherWalk::there(p, u)) continue;
      const auto& s = p.source_stride;
      const int64_t plane = walk.item * s[0] + (u - p.padding[0]) * s[2] + first * s[3];
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        const int source = (first_chunk + chunk) * kChannels + channel;
        // A multiple of 32 bytes, and what the run of bytes begins behind it.
        const auto run = reinterpret_cast<intptr_t>(p.source) + (plane + source * s[1]) * kBytes;
        const int shift = static_cast<int>(run & (kGatherLead - 1));
        const bool there = source < p.sources;
        uint32_t to =
            shared.slots + ring.stage * p.slot_bytes + channel * p.pitch + kGatherLead + 16 * lane;
        const auto* from = reinterpret_cast<const unsigned char*>(run - shift) + 16 * lane;
        sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
#pragma unroll 4
        for (int at = 16 * lane - shift; at < all; at += 16 * kLanes) {  // of a piece in the lines
          copy_async<16>(to, from, there && at + 16 > begin && at < end ? 16 : 0);
          from += 16 * kLanes;
          to += 16 * kLanes;
        }
        sm90::barrier_arrive_after_copies(shared.full + 8 * ring.stage);
        ring.next(p.slots);
      }
    }
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
