// SPDX-License-Identifier: BSD-3-Clause
// The sums of a block, and of the others of its cluster, to the result.
#pragma once
#include "cuda/cluster_gemm/tile.cuh"
#include "cuda/common/cluster.cuh"
#include "cuda/common/shared_words.cuh"

namespace convt3d::cuda::cluster_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A chain of sums that is as long as it may be (chain.h) waits in the workspace, each thread's own,
// for the next one, which starts at zero.
template <typename Tile>
__device__ __forceinline__ float4* left_sums(const Params& p) {
  return reinterpret_cast<float4*>(p.left) +
         int64_t{blockIdx.x} * (Tile::kSums / 4 * kSumWarps * 32) + threadIdx.x;
}

template <typename Tile>
__device__ __forceinline__ void leave_sums(const Params& p, Sums<Tile>& sum) {
  constexpr int kOfInstruction = Tile::kInstruction / 2;
  float4* const left = left_sums<Tile>(p);
#pragma unroll
  for (int i = 0; i < Tile::kSums; i += 4) {
    float* const four = &sum[i / kOfInstruction][i % kOfInstruction];
    left[i / 4 * (kSumWarps * 32)] = make_float4(four[0], four[1], four[2], four[3]);
    four[0] = four[1] = four[2] = four[3] = 0;
  }
}

template <typename Tile>
__device__ __forceinline__ void add_left(const Params& p, Sums<Tile>& sum) {
  constexpr int kOfInstruction = Tile::kInstruction / 2;
  const float4* const left = left_sums<Tile>(p);
#pragma unroll
  for (int i = 0; i < Tile::kSums; i += 4) {
    float4 before;
    asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(before.x), "=f"(before.y), "=f"(before.z), "=f"(before.w)
                 : "l"(left + i / 4 * (kSumWarps * 32))
                 : "memory");
    float* const four = &sum[i / kOfInstruction][i % kOfInstruction];
    four[0] += before.x;
    four[1] += before.y;
    four[2] += before.z;
    four[3] += before.w;
  }
}

// The parts of K: a share of the warps of each block gets what the same warps of the others have,
// in the place of the stages, thread by thread. True for a warp that has the sums of all.
template <typename Tile>
__device__ __forceinline__ bool join_sums(const Params& p, int split, uint32_t stages,
                                          Sums<Tile>& sum) {
  constexpr int kOfInstruction = Tile::kInstruction / 2;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int owner = (warp << p.log_splits) / kSumWarps;
  const int share = kSumWarps >> p.log_splits;  // warps of an owner
  const int of_share = warp & share - 1;
  const auto place = [&](int turn) {  // the splits behind the owner's, one after another
    return stages + (turn * share + of_share) * (Tile::kSums * 32 * 4) + lane * 16;
  };
  cluster_barrier();  // no block reads a stage
  if (owner != split) {
    const uint32_t to = place((split - owner + p.splits - 1) & (p.splits - 1));
#pragma unroll
    for (int i = 0; i < Tile::kSums; i += 4) {
      store_in_block(to + i * 32 * 4, owner, &sum[i / kOfInstruction][i % kOfInstruction]);
    }
  }
  cluster_barrier();  // all sums are there
  if (owner != split) return false;
#pragma unroll 1
  for (int turn = 0; turn < p.splits - 1; ++turn) {
    const uint32_t from = place(turn);
#pragma unroll
    for (int i = 0; i < Tile::kSums; i += 4) {
      const float4 part = load_four_floats(from + i * 32 * 4);
      float* const four = &sum[i / kOfInstruction][i % kOfInstruction];
      four[0] += part.x;
      four[1] += part.y;
      four[2] += part.z;
      four[3] += part.w;
    }
  }
  return true;
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

// A thread has rows lane / 4 and 8 below it of each instruction, and of 8 columns two.
template <typename Tile>
__device__ __forceinline__ void store_sums(const Params& p, const Job& job, Sums<Tile>& sum) {
  using T = typename Tile::T;
  const PartParams& part = p.part[job.part];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, quad = lane % 4;
  const T* const bias = static_cast<const T*>(p.bias);
#pragma unroll
  for (int m = 0; m < Tile::kRowTiles; ++m) {
    const int row = job.first_row + warp / 4 * (Tile::kRows / 2) + 64 * m + warp % 4 * 16;
    const int offset[2] = {row_offset(p, part, row + lane / 4),
                           row_offset(p, part, row + lane / 4 + 8)};
#pragma unroll
    for (int n = 0; n < Tile::kColumnTiles; ++n) {
      float(&s)[Tile::kInstruction / 2] = sum[m * Tile::kColumnTiles + n];
      const int first = job.first_column + n * Tile::kInstruction;
      if (p.whole_stores) {
        // Neighbours exchange pairs of columns: one has four of the first 8, one of the next.
        const bool odd = quad % 2 != 0;
        const int in_eight = quad / 2 * 4 + (odd ? 8 : 0);
#pragma unroll
        for (int j = 0; j < Tile::kInstruction / 16; ++j) {
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
      } else {
#pragma unroll
        for (int i = 0; i < Tile::kInstruction / 2; i += 4) {
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
      }
    }
  }
}

#endif

}  // namespace convt3d::cuda::cluster_gemm
