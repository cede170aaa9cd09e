// SPDX-License-Identifier: BSD-3-Clause
// The sums of a block, and of the others of its cluster, to the result.
#pragma once
#include "cuda/cluster_weight/load.cuh"
#include "cuda/cluster_weight/multiply.cuh"
#include "cuda/common/cluster.cuh"
#include "cuda/sm90/mbarrier.cuh"

namespace convt3d::cuda::cluster_weight {

template <int kWords>
__device__ __forceinline__ void store_floats(uint32_t address, const float (&value)[kWords]) {
  if constexpr (kWords == 2) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(value[0]), "f"(value[1])
                 : "memory");
  } else {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(value[0]),
                 "f"(value[1]), "f"(value[2]), "f"(value[3])
                 : "memory");
  }
}

// A warp's sums, in_channels from `row` on, columns from `column` on, in the order of the result.
template <typename Tile>
__device__ __forceinline__ void leave_sums(uint32_t sums, int row, int column,
                                           const Sums<Tile>& sum) {
  constexpr int kTaps = Tile::kTaps;
  const int lane = threadIdx.x % 32, quad = lane % 4;
#pragma unroll
  for (int i = 0; i < Tile::kWarpM / 16; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // of the 16 in_channels
      const uint32_t at =
          sums + (row + 16 * i + 8 * half + lane / 4) * Tile::kSumPitch + 4 * column;
      if constexpr (!Tile::kLines) {
#pragma unroll
        for (int j = 0; j < Tile::kWarpN / 8; ++j) {
          const float pair[2] = {sum[i][j][2 * half], sum[i][j][2 * half + 1]};
          store_floats(at + (8 * j + 2 * quad) * 4, pair);
        }
      } else {
#pragma unroll
        for (int group = 0; group < Tile::kWarpN / 8 / kTaps; ++group) {
          // The taps of two lines.
          float value[2 * kTaps];
#pragma unroll
          for (int tap = 0; tap < kTaps; ++tap) {
            value[tap] = sum[i][group * kTaps + tap][2 * half];
            value[kTaps + tap] = sum[i][group * kTaps + tap][2 * half + 1];
          }
#pragma unroll
          for (int v = 0; v < 2 * kTaps; v += 4) {
            const float four[4] = {value[v], value[v + 1], value[v + 2], value[v + 3]};
            store_floats(at + ((8 * group + 2 * quad) * kTaps + v) * 4, four);
          }
        }
      }
    }
  }
}

// The same of wgmmas: in_channels down the sums of a thread, of which a pair of columns are
// neighbours.
template <int kPitch, int kWide>
__device__ __forceinline__ void leave_columns(uint32_t sums, const float (&sum)[kWide]) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const uint32_t at = sums + lane % 4 * 2 * kPitch + (thread / 32 * 16 + lane / 4 * 2) * 4;
#pragma unroll
  for (int j = 0; j < kWide / 4; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float pair[2] = {sum[4 * j + e], sum[4 * j + 2 + e]};
      store_floats(at + (8 * j + e) * kPitch, pair);
    }
  }
}

// 16 bytes of the result: the sums of kBlocks blocks, at `own` those of this one, of rank `rank`,
// at `others` + block * `distance` of the others.
template <typename T, int kBlocks>
__device__ __forceinline__ void add_blocks(uint32_t own, uint32_t others, int rank, int distance,
                                           T (&value)[16 / sizeof(T)]) {
  constexpr int kFours = 4 / sizeof(T);
  float4 part[kBlocks][kFours];  // all on their way at once
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
    const uint32_t at = kBlocks == 1 || block == rank ? own : others + block * distance;
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      uint32_t word[4];
      load_words(word, at + 16 * i);
      part[block][i] = make_float4(__uint_as_float(word[0]), __uint_as_float(word[1]),
                                   __uint_as_float(word[2]), __uint_as_float(word[3]));
    }
  }
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    float4 sum = part[0][i];
#pragma unroll
    for (int block = 1; block < kBlocks; ++block) {
      sum.x += part[block][i].x;
      sum.y += part[block][i].y;
      sum.z += part[block][i].z;
      sum.w += part[block][i].w;
    }
    value[4 * i] = narrow<T>(sum.x);
    value[4 * i + 1] = narrow<T>(sum.y);
    value[4 * i + 2] = narrow<T>(sum.z);
    value[4 * i + 3] = narrow<T>(sum.w);
  }
}

// The block's share of the in_channels of its tile.
template <typename Tile, int kBlocks>
__device__ __forceinline__ void store_share(const Params& p, const Job& job, uint32_t sums) {
  using T = typename Tile::T;
  constexpr int kPiece = 16 / Tile::kElement, kRowPieces = kColumns / kPiece;
  constexpr int kShare = Tile::kM / kBlocks, kRowsAtOnce = kSumThreads / kRowPieces;
  constexpr int kUnroll = kBlocks == 1 ? 2 : 1;  // limit: registers
  const int column = threadIdx.x % kRowPieces * kPiece;
  const int left = p.columns - job.first_column - column;
#pragma unroll kUnroll
  for (int pass = 0; pass < (kShare + kRowsAtOnce - 1) / kRowsAtOnce; ++pass) {
    const int of_share = threadIdx.x / kRowPieces + pass * kRowsAtOnce;
    const int row = job.rank * kShare + of_share;
    if (of_share >= kShare || job.first_in + row >= p.in_channels || left <= 0) continue;
    alignas(16) T value[kPiece];
    const uint32_t at = sums + 4 * column;
    add_blocks<T, kBlocks>(at + row * Tile::kSumPitch,
                           at + Tile::kSumBytes + of_share * Tile::kSumPitch, job.rank,
                           kShare * Tile::kSumPitch, value);
    T* const to = static_cast<T*>(p.result) + int64_t{job.first_in + row} * p.columns +
                  job.first_column + column;
    if (p.store_pieces && left >= kPiece) {
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(value);
    } else {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        if (e < left) to[e] = value[e];
      }
    }
  }
}

// From this block's shared memory to that of another of the cluster; completes on its barrier.
__device__ __forceinline__ void send_bytes(uint32_t to, uint32_t from, int bytes, uint32_t barrier,
                                           int rank) {
  asm volatile(
      "{\n.reg .u32 there, done;\n"
      "mapa.shared::cluster.u32 there, %0, %4;\n"
      "mapa.shared::cluster.u32 done, %3, %4;\n"
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [there], [%1], %2,"
      " [done];\n}" ::"r"(to),
      "r"(from), "r"(bytes), "r"(barrier), "r"(rank)
      : "memory");
}

// `sums_full` completes when the other blocks' sums of this block's share are there.
template <typename Tile>
__device__ __forceinline__ void store_sums(const Params& p, const Job& job, uint32_t sums_full,
                                           uint32_t sums) {
  static_assert(kMaxSplits == 4);
  if (p.splits == 1) {
    sync_threads<kSumBarrier, kSumThreads>();  // the sums of all warps are there
    return store_share<Tile, 1>(p, job, sums);
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // sums -> copies of them
  const int share = Tile::kSumBytes / p.splits, other = static_cast<int>(threadIdx.x);
  if (threadIdx.x == 0) sm90::barrier_arrive_expect(sums_full, share * (p.splits - 1));
  cluster_barrier();  // all blocks have their sums, and none reads a stage
  if (other < p.splits && other != job.rank) {
    send_bytes(sums + Tile::kSumBytes + job.rank * share, sums + other * share, share, sums_full,
               other);
  }
  sm90::barrier_wait(sums_full, 0);
  if (p.splits == 2) {
    store_share<Tile, 2>(p, job, sums);
  } else {
    store_share<Tile, 4>(p, job, sums);
  }
  cluster_barrier();  // no block ends while others wait for its sums
}

}  // namespace convt3d::cuda::cluster_weight
