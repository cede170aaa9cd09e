// SPDX-License-Identifier: BSD-3-Clause
// The sums of a block, and of the others of its cluster, to the result.
#pragma once
#include "cuda/cluster_gemm/tile.cuh"
#include "cuda/common/cluster.cuh"
#include "cuda/common/four_rows.cuh"
#include "cuda/common/shared_words.cuh"

namespace convt3d::cuda::cluster_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Where, from `stages` on, a thread's fours of sums lie that one block of the cluster has for
// another: `share` sums of each thread.
__device__ __forceinline__ int shared_place(int split, int share, int in_share) {
  return (split * (share / 4) + in_share / 4) * (kSumWarps * 32 * 16) +
         static_cast<int>(threadIdx.x) * 16;
}

// Which block gets a thread's sums of that share: another one for the next warp, so that not all
// send to the same block at a time. And the other way round.
__device__ __forceinline__ int share_of(const Job& job, int owner) {
  return (owner - static_cast<int>(threadIdx.x / 32)) & ((1 << job.log_splits) - 1);
}
__device__ __forceinline__ int owner_of(const Job& job, int share) {
  return (share + static_cast<int>(threadIdx.x / 32)) & ((1 << job.log_splits) - 1);
}

// The parts of K: each block gets a share of every thread's sums from all blocks of its tile, its
// own too, in the place of the stages.
template <typename Tile>
__device__ __forceinline__ void share_sums(const Job& job, uint32_t stages, Sums<Tile>& sum) {
  constexpr int kOfInstruction = Tile::kInstruction / 2;
  const int share = Tile::kSums >> job.log_splits;
  cluster_barrier();  // no block reads a stage
#pragma unroll
  for (int i = 0; i < Tile::kSums; i += 4) {
    store_in_block(stages + shared_place(job.split, share, i & share - 1),
                   job.first_rank + owner_of(job, (i << job.log_splits) / Tile::kSums),
                   &sum[i / kOfInstruction][i % kOfInstruction]);
  }
  cluster_barrier();  // all sums are there
}

// Where the result of a tile's row lies, of column 0; -1 behind the last row.
__device__ __forceinline__ int row_offset(const Params& p, const PartParams& part, int row) {
  if (row >= part.positions) return -1;
  int offset = 0;
#pragma unroll
  for (int a = 2; a >= 0; --a) {
    const int at = divide(&row, part.axis[a].extent);
    offset += (at * p.result_step[a] + part.axis[a].result_first) * p.result_stride[2 + a];
  }
  return offset + row * p.result_stride[0];
}

template <typename T>
__device__ __forceinline__ void store_four(T* to, const float (&value)[4]) {
  if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(value[0], value[1], value[2], value[3]);
  } else {
    alignas(8) const T narrowed[4] = {narrow<T>(value[0]), narrow<T>(value[1]), narrow<T>(value[2]),
                                      narrow<T>(value[3])};
    *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(narrowed);
  }
}

// Positions of a column are contiguous: a lane has four of them.
template <typename T, int kSums>
__device__ __forceinline__ void store_lines(const Params& p, int offset, int first,
                                            const float (&s)[kSums]) {
  const int lane = threadIdx.x % 32;
  const T* const bias = static_cast<const T*>(p.bias);
#pragma unroll
  for (int i = 0; i < kSums; i += 4) {
    float add[2] = {};
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int column = first + 2 * i + 2 * (lane % 4) + e;
      if (bias && column < p.columns) add[e] = widen(bias[column * p.bias_stride]);
    }
    const uint2 four = four_rows(lane, pack_pair<T>(s[i] + add[0], s[i + 1] + add[1]),
                                 pack_pair<T>(s[i + 2] + add[0], s[i + 3] + add[1]));
    const int column = first + 2 * i + lane / 4;
    if (offset >= 0 && column < p.columns) {
      *reinterpret_cast<uint2*>(static_cast<T*>(p.result) + column * p.result_stride[1] + offset) =
          four;
    }
  }
}

// A thread has rows lane / 4 and 8 below it of each instruction, at `offset`, and of 8 columns two:
// here of 2 * kSums columns from `first` on.
template <typename T, int kSums>
__device__ __forceinline__ void store_columns(const Params& p, const int (&offset)[2], int first,
                                              const float (&s)[kSums]) {
  const int quad = threadIdx.x % 4;
  const T* const bias = static_cast<const T*>(p.bias);
  if (p.whole_stores) {
    // Neighbours exchange pairs of columns: one has four of the first 8, one of the next.
    const bool odd = quad % 2 != 0;
    const int in_eight = quad / 2 * 4 + (odd ? 8 : 0);
#pragma unroll
    for (int j = 0; j < kSums / 8; ++j) {
      const int column = first + 16 * j + in_eight;
      float add[4] = {};
      if (bias && column < p.columns) {
#pragma unroll
        for (int e = 0; e < 4; ++e) add[e] = widen(bias[(column + e) * p.bias_stride]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float* const low = &s[8 * j + 2 * half];
        const float* const high = &s[8 * j + 4 + 2 * half];
        const float x = __shfl_xor_sync(~0u, odd ? low[0] : high[0], 1);
        const float y = __shfl_xor_sync(~0u, odd ? low[1] : high[1], 1);
        const float value[4] = {(odd ? x : low[0]) + add[0], (odd ? y : low[1]) + add[1],
                                (odd ? high[0] : x) + add[2], (odd ? high[1] : y) + add[3]};
        if (offset[half] >= 0 && column < p.columns) {
          store_four(static_cast<T*>(p.result) + offset[half] + column, value);
        }
      }
    }
  } else if (sizeof(T) == 4 || !p.line_stores) {
#pragma unroll
    for (int i = 0; i < kSums; i += 4) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int column = first + 2 * i + 2 * quad + e;
        if (column >= p.columns) continue;
        const float add = bias ? widen(bias[column * p.bias_stride]) : 0;
        T* const to = static_cast<T*>(p.result) + column * p.result_stride[1];
        if (offset[0] >= 0) to[offset[0]] = narrow<T>(s[i + e] + add);
        if (offset[1] >= 0) to[offset[1]] = narrow<T>(s[i + 2 + e] + add);
      }
    }
  } else if constexpr (sizeof(T) == 2) {
    store_lines<T>(p, offset[0], first, s);
  }
}

// Of a thread's rows of an instruction; in store_lines() of its first.
template <typename Tile>
__device__ __forceinline__ void row_offsets(const Params& p, const Job& job, int row_tile,
                                            int (&offset)[2]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = job.first_row + warp / 4 * (Tile::kRows / 2) + 64 * row_tile + warp % 4 * 16;
  const int first = p.line_stores ? first_of_four_rows(lane) : lane / 4;
  offset[0] = row_offset(p, p.part[job.part], row + first);
  offset[1] = row_offset(p, p.part[job.part], row + lane / 4 + 8);
}

template <typename Tile>
__device__ __forceinline__ void store_sums(const Params& p, const Job& job, Sums<Tile>& sum) {
#pragma unroll
  for (int m = 0; m < Tile::kRowTiles; ++m) {
    int offset[2];
    row_offsets<Tile>(p, job, m, offset);
#pragma unroll
    for (int n = 0; n < Tile::kColumnTiles; ++n) {
      store_columns<typename Tile::T>(p, offset, job.first_column + n * Tile::kInstruction,
                                      sum[m * Tile::kColumnTiles + n]);
    }
  }
}

// This block's share of the sums of all blocks, which lie as share_sums() left them. They are added
// in the order of K.
template <typename Tile>
__device__ __forceinline__ void store_share(const Params& p, const Job& job, uint32_t stages) {
  constexpr int kOfRow = Tile::kColumns / 2;  // sums of a thread's row tile
  const int share = Tile::kSums >> job.log_splits;
  const int first = share_of(job, job.split) * share;
  int offset[2];
  row_offsets<Tile>(p, job, first / kOfRow, offset);
#pragma unroll 1
  for (int i = 0; i < share; i += 8) {
    float s[8] = {};
#pragma unroll 4
    for (int part = 0; part < 1 << job.log_splits; ++part) {
#pragma unroll
      for (int four = 0; four < 8; four += 4) {
        const float4 add = load_four_floats(stages + shared_place(part, share, i + four));
        s[four] += add.x;
        s[four + 1] += add.y;
        s[four + 2] += add.z;
        s[four + 3] += add.w;
      }
    }
    store_columns<typename Tile::T>(p, offset, job.first_column + (first + i) % kOfRow * 2, s);
  }
}

#endif

}  // namespace convt3d::cuda::cluster_gemm
