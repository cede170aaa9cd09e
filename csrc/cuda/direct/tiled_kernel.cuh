// SPDX-License-Identifier: BSD-3-Clause
// The tiled scheme: a block of 256 threads computes 128 rows x kTileN columns of a GatherGemm,
// 16 pairs at a time.
//
//   pairs of the next chunk      threads 0..15 move a digit counter each, one chunk ahead
//   source, B of the next chunk  global -> registers, in flight during the sums
//   sums of this chunk           a[16][128], b[16][kTileN] in shared memory, 8 x kTileN/16 a thread
//   totals                       take the sums over every `run` chunks: two short chains of
//   roundings
//                                instead of one long one
//
// Coordinates are 32-bit here; choose() bounds them by kMaxCoordinate.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/direct/gather_gemm.cuh"
#include "cuda/direct/tuning.h"

namespace convt3d::cuda::direct {

template <typename Number>
struct alignas(16) Quad {
  Number value[4];
};

// The digits of one pair, moved on by a whole chunk.
struct PairCounter {
  int64_t digit[4];
  int64_t index;

  __device__ void advance(const Side& side) {
    index += kTileK;
    digit[3] += kTileK;
#pragma unroll
    for (int i = 3; i > 0; --i) {
      while (digit[i] >= side.radix[i]) {
        digit[i] -= side.radix[i];
        ++digit[i - 1];
      }
    }
  }
};

template <typename T, typename B, int kTileN>
struct TileMemory {
  using Sum = Accumulator<T>;
  Quad<Sum> a[kTileK][kTileM / 4 + 1];  // + 1: neighbouring pairs start in other banks
  Quad<Sum> b[kTileK][kTileN / 4 + 1];
  Place<int> row[kTileM];
  Place<int> pair[2][kTileK];
  int64_t pair_b[2][kTileK];  // element offset in B; -1 past the last pair
  int64_t row_c[kTileM];      // element offset in C; -1 past the last row
  Side rows, pairs;
  PairCounter counter[kTileK];
  int64_t num_rows, first_pair, last_pair;
  int num_chunks;  // of 16 pairs, far below 2^31 in any call that ends
  int run;
  Work work;  // here and not in registers, which the sums need
};

template <typename T>
__device__ __forceinline__ Accumulator<T> gather(const GatherGemm& p, const T* source,
                                                 const Place<int>& row, const Place<int>& pair) {
  return inside(p, row, pair) ? widen(source[row.offset + pair.offset]) : Accumulator<T>(0);
}

// B is the packed weight (accumulators' type) or the input (T); C is the result or a partial sum.
// kSourceOnPairs: neighbouring threads load neighbouring pairs of the source, else rows. kBOnPairs:
// likewise of B, else columns.
template <typename T, typename B, typename C, int kTileN, bool kSourceOnPairs, bool kBOnPairs>
__global__ __launch_bounds__(kTiledThreads, sizeof(Accumulator<T>) == 4 ? 2 : 1) void tiled_kernel(
    const __grid_constant__ GatherGemm p) {
  using Sum = Accumulator<T>;
  constexpr int kLoadsA = kTileM * kTileK / kTiledThreads;  // 8
  constexpr int kLoadsB = kTileN * kTileK / kTiledThreads;  // 4 or 2
  constexpr int kColumns = kTileN / 16;                     // of one thread
  __shared__ TileMemory<T, B, kTileN> memory;
  const int thread = threadIdx.x;
  const int thread_m = thread % 16, thread_n = thread / 16;

  for (int64_t index = blockIdx.x; index < p.work; index += gridDim.x) {
    enter(p, index, &memory.work, &memory.rows, &memory.pairs);
    if (thread == 0) {
      const Work& work = memory.work;
      memory.num_rows = count(memory.rows);
      const int64_t num_pairs = count(memory.pairs);
      const int64_t share = (num_pairs + p.splits - 1) / p.splits;
      memory.first_pair = min(num_pairs, work.split * share);
      memory.last_pair = min(num_pairs, (work.split + 1) * share);
      memory.num_chunks =
          static_cast<int>((memory.last_pair - memory.first_pair + kTileK - 1) / kTileK);
      // Both chains near the square root of the whole.
      memory.run = 1;
      while (memory.run * kTileK < kRunK && memory.run * memory.run * kTileK < memory.num_chunks) {
        memory.run *= 2;
      }
    }
    __syncthreads();  // the extent of the work is there for all
    const int64_t first_row = memory.work.row_tile * kTileM;
    if (first_row >= memory.num_rows) continue;  // a residue with fewer tiles than the largest
    const T* source =
        static_cast<const T*>(p.source) + memory.work.group_tile * p.source_group_stride;
    const int64_t first_column = memory.work.column_tile * kTileN;
    const B* b = static_cast<const B*>(p.b) + memory.work.group_tile * p.b_group_stride +
                 first_column * p.b_column_stride;
    const int columns = static_cast<int>(min(p.columns - first_column, int64_t{kTileN}));

    if (thread < kTileM) {
      Place<int> row = nowhere<int>(0);
      memory.row_c[thread] = -1;
      if (first_row + thread < memory.num_rows) {
        int64_t digit[4];
        decode_digits(memory.rows, first_row + thread, digit);
        row = place<int>(p, memory.rows, digit);
        memory.row_c[thread] = far_offset(memory.rows, digit);
      }
      memory.row[thread] = row;
    }
    const auto write_pair = [&](int chunk) {
      if (thread >= kTileK || chunk >= memory.num_chunks) return;
      PairCounter& counter = memory.counter[thread];
      if (chunk == 0) {
        counter.index = memory.first_pair + thread;
        decode_digits(memory.pairs, counter.index, counter.digit);
      } else {
        counter.advance(memory.pairs);
      }
      const bool there = counter.index < memory.last_pair;
      memory.pair[chunk % 2][thread] =
          there ? place<int>(p, memory.pairs, counter.digit) : nowhere<int>(1);
      memory.pair_b[chunk % 2][thread] = there ? far_offset(memory.pairs, counter.digit) : -1;
    };

    Sum next_a[kLoadsA], next_b[kLoadsB];
    const auto load = [&](int chunk) {
      const Place<int>* pair = memory.pair[chunk % 2];
      if (kSourceOnPairs) {
        const Place<int> own = pair[thread % kTileK];
#pragma unroll
        for (int i = 0; i < kLoadsA; ++i) {
          next_a[i] = gather(p, source, memory.row[thread / kTileK + i * kTileM / kLoadsA], own);
        }
      } else {
        const Place<int> own = memory.row[thread % kTileM];
#pragma unroll
        for (int i = 0; i < kLoadsA; ++i) {
          next_a[i] = gather(p, source, own, pair[thread / kTileM + i * kTileK / kLoadsA]);
        }
      }
#pragma unroll
      for (int i = 0; i < kLoadsB; ++i) {
        const int k = kBOnPairs ? thread % kTileK : thread / kTileN + i * (kTiledThreads / kTileN);
        const int n = kBOnPairs ? thread / kTileK + i * 16 : thread % kTileN;
        const int64_t offset = memory.pair_b[chunk % 2][k];
        const bool there = offset >= 0 && n < columns;
        next_b[i] = there ? widen(b[offset + n * p.b_column_stride]) : Sum(0);
      }
    };
    const auto store = [&] {
      Sum* a = &memory.a[0][0].value[0];
      Sum* tile_b = &memory.b[0][0].value[0];
#pragma unroll
      for (int i = 0; i < kLoadsA; ++i) {
        const int k = kSourceOnPairs ? thread % kTileK : thread / kTileM + i * kTileK / kLoadsA;
        const int m = kSourceOnPairs ? thread / kTileK + i * kTileM / kLoadsA : thread % kTileM;
        a[k * (kTileM + 4) + m] = next_a[i];
      }
#pragma unroll
      for (int i = 0; i < kLoadsB; ++i) {
        const int k = kBOnPairs ? thread % kTileK : thread / kTileN + i * (kTiledThreads / kTileN);
        const int n = kBOnPairs ? thread / kTileK + i * 16 : thread % kTileN;
        tile_b[k * (kTileN + 4) + n] = next_b[i];
      }
    };

    Sum sum[8][kColumns] = {}, total[8][kColumns] = {};
    write_pair(0);
    __syncthreads();  // rows and the first pairs are written
    if (memory.num_chunks > 0) load(0);
    write_pair(1);
    store();
    __syncthreads();  // the first chunk is in shared memory, and the pairs of the second
    for (int chunk = 0; chunk < memory.num_chunks; ++chunk) {
      if (chunk + 1 < memory.num_chunks) load(chunk + 1);
      write_pair(chunk + 2);  // over the pairs of `chunk`, whose loads are done
#pragma unroll
      for (int k = 0; k < kTileK; ++k) {
        const Quad<Sum> low = memory.a[k][thread_m], high = memory.a[k][16 + thread_m];
        const Sum* column = &memory.b[k][0].value[0] + thread_n * kColumns;
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          const Sum factor = column[j];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sum[i][j] += low.value[i] * factor;
            sum[4 + i][j] += high.value[i] * factor;
          }
        }
      }
      if (chunk % memory.run == memory.run - 1) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
#pragma unroll
          for (int j = 0; j < kColumns; ++j) {
            total[i][j] += sum[i][j];
            sum[i][j] = 0;
          }
        }
      }
      __syncthreads();  // all have read this chunk
      if (chunk + 1 < memory.num_chunks) store();
      __syncthreads();  // the next chunk is there, and the pairs after it
    }

    const Work& work = memory.work;
    C* c =
        static_cast<C*>(p.c) + work.group_tile * p.c_group_stride + work.split * p.c_split_stride;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int64_t column = work.column_tile * kTileN + thread_n * kColumns + j;
      if (column >= p.columns) continue;
      Sum bias = 0;
      if (p.bias != nullptr) {
        bias = widen(
            static_cast<const T*>(p.bias)[(work.group_tile * p.columns + column) * p.bias_stride]);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int64_t offset = memory.row_c[thread_m * 4 + i % 4 + 64 * (i / 4)];
        if (offset >= 0)
          c[offset + column * p.c_column_stride] = narrow<C>((total[i][j] + sum[i][j]) + bias);
      }
    }
  }
}

}  // namespace convt3d::cuda::direct
