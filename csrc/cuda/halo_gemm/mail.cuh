// SPDX-License-Identifier: BSD-3-Clause
// Sums that a warp gets from the warps of the same number in the other blocks of its cluster, and
// sends to them: pieces of 16 bytes a lane, into a place that the receiver owns.
//
//   full    the bytes -> the warp that they are for
//   taken   that warp, once it has read them -> those who send
#pragma once
#include "cuda/common/shared_words.cuh"
#include "cuda/halo_gemm/thread_here.cuh"
#include "cuda/sm90/mbarrier.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define CONVT3D_CLUSTER(blocks) __cluster_dims__(blocks, 1, 1)
#else  // there are none
#define CONVT3D_CLUSTER(blocks)
#endif

namespace convt3d::cuda::halo_gemm {

// Of a block, in shared memory.
struct MailPlaces {
  uint32_t sums, full, taken;
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// By one thread, before anything is sent.
template <int kRanks>
__device__ __forceinline__ void init_mail(const MailPlaces& places, int warps) {
  for (int warp = 0; warp < warps; ++warp) {
    sm90::barrier_init(places.full + 8 * warp, 1);
    sm90::barrier_init(places.taken + 8 * warp, kRanks - 1);
  }
}

// `bytes`: of a warp. `parity`: 0, 1, 0, 1, .. for what is sent first, second, ..
template <int kRanks>
struct Mail {
  int lane;
  uint32_t rank, sums, full, taken, bytes;

  __device__ Mail(const MailPlaces& places, int warp, uint32_t bytes)
      : lane(thread_here() % 32),
        rank(blockIdx.x % kRanks),
        sums(places.sums + warp * bytes + lane * 16),
        full(places.full + 8 * warp),
        taken(places.taken + 8 * warp),
        bytes(bytes) {}

  // Before the first piece: the last ones have been read.
  __device__ __forceinline__ void start(uint32_t parity) const {
    sm90::barrier_wait(taken, parity ^ 1);
    if (lane == 0) sm90::barrier_arrive_expect(full, bytes);
  }
  // To the block `distance` ranks on.
  __device__ __forceinline__ void send(int piece, int distance, float x, float y, float z,
                                       float w) const {
    const uint32_t to = (rank + distance) % kRanks;
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, "
        "[%5];" ::"r"(in_block(sums, to) + piece * 512),
        "f"(x), "f"(y), "f"(z), "f"(w), "r"(in_block(full, to))
        : "memory");
  }
  __device__ __forceinline__ void wait(uint32_t parity) const { sm90::barrier_wait(full, parity); }
  __device__ __forceinline__ float4 piece(int number) const {
    return load_four_floats(sums + number * 512);
  }
  // Once all pieces are in registers. No memory is ordered with it: a release at the scope of a
  // cluster is a fence, which takes 8 % of a warp's time (ncu). This relies on loads
  // of shared memory leaving a warp in order, before what it sends.
  __device__ __forceinline__ void release() const {
    __syncwarp();
    if (lane == 0 || lane >= kRanks) return;
    asm volatile("mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [%0];" ::"r"(
                     in_block(taken, (rank + kRanks - lane) % kRanks))
                 : "memory");
  }

 private:
  // One of this block's addresses, in the block of that rank.
  static __device__ __forceinline__ uint32_t in_block(uint32_t address, uint32_t rank) {
    uint32_t there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
  }
};

#endif

}  // namespace convt3d::cuda::halo_gemm
