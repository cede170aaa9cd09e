// SPDX-License-Identifier: BSD-3-Clause
// The sums of a block of box_kernel.cuh, and of the others of its cluster, to the result.
#pragma once
#include "cuda/cluster_weight/box_tile.cuh"
#include "cuda/cluster_weight/store.cuh"
#include "cuda/common/shared_words.cuh"

namespace convt3d::cuda::cluster_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The block's share of the in_channels: sums of all blocks, in their order.
template <typename Tile>
__device__ __forceinline__ void store_box_share(const BoxParams& p, const BoxJob& job, int share,
                                                uint32_t sums) {
  using T = typename Tile::T;
  constexpr int kPiece = 16 / Tile::kElement, kRowPieces = kColumns / kPiece;
  const int column = static_cast<int>(threadIdx.x) % kRowPieces * kPiece;
  const int left = p.columns - job.first_column - column;
  const int first = job.rank * share;
  const int count = min(share, min(Tile::kRows, p.in_channels - job.first_in) - first);
  if (left <= 0) return;
#pragma unroll 1
  for (int row = static_cast<int>(threadIdx.x) / kRowPieces; row < count;
       row += kSumThreads / kRowPieces) {
    float total[kPiece] = {};
    const uint32_t own = sums + (first + row) * kBoxSumPitch + 4 * column;
    const uint32_t others = sums + Tile::kSumBytes + row * kBoxSumPitch + 4 * column;
#pragma unroll 4
    for (int block = 0; block < p.splits; ++block) {
      const uint32_t at = block == job.rank ? own : others + block * share * kBoxSumPitch;
#pragma unroll
      for (int i = 0; i < kPiece; i += 4) {
        uint32_t word[4];
        load_words(word, at + 4 * i);
#pragma unroll
        for (int e = 0; e < 4; ++e) total[i + e] += __uint_as_float(word[e]);
      }
    }
    alignas(16) T value[kPiece];
#pragma unroll
    for (int e = 0; e < kPiece; ++e) value[e] = narrow<T>(total[e]);
    T* const to = static_cast<T*>(p.result) + int64_t{job.first_in + first + row} * p.columns +
                  job.first_column + column;
    if (p.store_pieces) {
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(value);
    } else {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        if (e < left) to[e] = value[e];
      }
    }
  }
}

template <typename Tile>
__device__ __forceinline__ void store_box_sums(const BoxParams& p, const BoxJob& job,
                                               const BoxShared& shared) {
  const uint32_t sums = shared.stages;
  if (p.splits == 1) {
    sync_threads<kSumBarrier, kSumThreads>();  // the sums of all warps are there
    return store_box_share<Tile>(p, job, Tile::kRows, sums);
  }
  const int share = (Tile::kRows + p.splits - 1) / p.splits;
  const auto bytes_of = [&](int rank) {
    return min(share, Tile::kRows - rank * share) * kBoxSumPitch;
  };
  const int other = static_cast<int>(threadIdx.x);
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // sums -> copies of them
  if (other == 0) {
    sm90::barrier_arrive_expect(shared.sums_full, bytes_of(job.rank) * (p.splits - 1));
  }
  cluster_barrier();  // all blocks have their sums, and none reads a stage
  if (other < p.splits && other != job.rank) {
    send_bytes(sums + Tile::kSumBytes + job.rank * share * kBoxSumPitch,
               sums + other * share * kBoxSumPitch, bytes_of(other), shared.sums_full, other);
  }
  sm90::barrier_wait(shared.sums_full, 0);
  __syncwarp();
  // No block ends while others wait for its sums.
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
  store_box_share<Tile>(p, job, share, sums);
  __syncwarp();
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}

#endif

}  // namespace convt3d::cuda::cluster_weight
