// SPDX-License-Identifier: BSD-3-Clause
// The consumers: a warpgroup sums kSlabs times 64 rows and kColumns columns. Its threads gather
// A from the halo, each two rows of a slab, and round or split it; B is read by wgmma itself.
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"
#include "cuda/tap_gemm/produce.cuh"

namespace convt3d::cuda::tap_gemm {

template <int kColumns, int kSlabs>
using Sums = float[kSlabs][kColumns / 2];

// Row of the block that slab i, half h of this thread are.
__device__ __forceinline__ int row_of(int slabs, int i, int half) {
  const int thread = threadIdx.x % 128;
  return (threadIdx.x / 128 * slabs + i) * 64 + thread / 32 * 16 + half * 8 + thread % 32 / 4;
}

// A of some steps of 8 positions: x[step][slab][register].
template <int kSteps, int kSlabs>
__device__ __forceinline__ void gather(uint32_t (&x)[kSteps][kSlabs][4],
                                       const uint32_t (&row)[kSlabs][2], uint32_t table) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    uint32_t at[2];
    load_words(at, table + 32 * k);
#pragma unroll
    for (int i = 0; i < kSlabs; ++i) {
      x[k][i][0] = load_shared(row[i][0] + at[0]);
      x[k][i][1] = load_shared(row[i][1] + at[0]);
      x[k][i][2] = load_shared(row[i][0] + at[1]);
      x[k][i][3] = load_shared(row[i][1] + at[1]);
    }
  }
}

// Starts the products of some steps of TF32. `b`: their places in the chunk's lines; `rounded`: x
// is.
template <int kSteps, int kColumns, int kSlabs>
__device__ __forceinline__ void start_tf32(Sums<kColumns, kSlabs>& sums,
                                           uint32_t (&x)[kSteps][kSlabs][4], uint32_t b,
                                           bool rounded) {
  if (!rounded) {
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
#pragma unroll
      for (int i = 0; i < kSlabs; ++i) {
#pragma unroll
        for (int e = 0; e < 4; ++e) x[k][i][e] = round_to_tf32(x[k][i][e]);
      }
    }
  }
  sm90::wgmma_fence();
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int i = 0; i < kSlabs; ++i) {
      sm90::Wgmma<float, kColumns>::run(sums[i], x[k][i], sm90::swizzled_descriptor(b + 32 * k), 1);
    }
  }
  sm90::wgmma_commit();
}

// A tile of TF32: 16 positions (8, as registers allow) are gathered while those before are
// multiplied.
template <int kColumns, int kSlabs>
__device__ __forceinline__ void multiply_tf32(Sums<kColumns, kSlabs>& sums,
                                              const uint32_t (&row)[kSlabs][2], uint32_t table,
                                              uint32_t b, int chunks, bool rounded) {
  constexpr int kSteps = kSlabs * kColumns > 128 ? 1 : 2, kBytes = 32 * kSteps;
  uint32_t x[kSteps][kSlabs][4], y[kSteps][kSlabs][4];
#pragma unroll 1
  for (int chunk = 0; chunk < chunks; ++chunk) {
#pragma unroll
    for (int at = 0; at < 128; at += 2 * kBytes) {
      gather<kSteps, kSlabs>(x, row, table + at);
      start_tf32<kSteps, kColumns, kSlabs>(sums, x, b + at, rounded);
      sm90::wgmma_wait<1>();  // those of y
      gather<kSteps, kSlabs>(y, row, table + at + kBytes);
      start_tf32<kSteps, kColumns, kSlabs>(sums, y, b + at + kBytes, rounded);
      sm90::wgmma_wait<1>();  // those of x
    }
    table += 128;
    b += 128 * kColumns;
  }
}

// 32 positions of float32: the tensor cores truncate when they add, so every chunk starts from
// zero, the small products come first, and its sums are added with rounding. `low`: bytes from the
// lines of B's high parts to those of its low ones.
template <int kColumns, int kSlabs>
__device__ __forceinline__ void multiply_fp32(Sums<kColumns, kSlabs>& sums,
                                              uint32_t (&x)[4][kSlabs][4], uint32_t b,
                                              uint32_t low) {
  uint32_t rest[4][kSlabs][4];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int i = 0; i < kSlabs; ++i) {
      uint32_t high[4];
      split_tf32(x[k][i], high, rest[k][i]);
#pragma unroll
      for (int e = 0; e < 4; ++e) x[k][i][e] = high[e];
    }
  }
  float part[kSlabs][kColumns / 2];
  using Multiply = sm90::Wgmma<float, kColumns>;
  sm90::wgmma_fence();
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int i = 0; i < kSlabs; ++i) {
      Multiply::run(part[i], rest[k][i], sm90::swizzled_descriptor(b + 32 * k), k > 0);
    }
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int i = 0; i < kSlabs; ++i) {
      Multiply::run(part[i], x[k][i], sm90::swizzled_descriptor(b + low + 32 * k), 1);
    }
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int i = 0; i < kSlabs; ++i) {
      Multiply::run(part[i], x[k][i], sm90::swizzled_descriptor(b + 32 * k), 1);
    }
  }
  sm90::wgmma_commit();
  sm90::wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < kSlabs; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns / 2; ++j) sums[i][j] += part[i][j];
  }
}

// blockIdx.x, and what is computed from it: not kept in registers since the kernel's start.
__device__ __forceinline__ int block_anew() {
  int block;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
  return block;
}

// Adds the sums to those in the workspace, or puts them there, and clears them. Some at a time are
// read: one after the other, each would wait for its own.
template <int kColumns, int kSlabs>
__device__ __forceinline__ void flush(const Params& p, Sums<kColumns, kSlabs>& sums, bool add) {
  constexpr int kAtOnce = kColumns % 32 == 0 ? 8 : 4;
  const Job job(p, block_anew());
  float* to = p.partial + (int64_t{job.split} * p.groups + job.group) * p.in_channels * p.all_rows +
              job.tap_group * p.group_rows + job.first_row;
  const int first = job.column_tile * kColumns + threadIdx.x % 4 * 2;
#pragma unroll
  for (int i = 0; i < kSlabs; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = row_of(kSlabs, i, half);
      if (row >= job.rows) continue;
      const auto column = [&](int j) { return first + j / 2 * 8 + j % 2; };
#pragma unroll
      for (int done = 0; done < kColumns / 4; done += kAtOnce) {
        float* const at = to + int64_t{column(done)} * p.all_rows + row;
        const auto place = [&](int j) { return at + int64_t{column(j) - column(0)} * p.all_rows; };
        float before[kAtOnce] = {};
        if (add) {
#pragma unroll
          for (int j = 0; j < kAtOnce; ++j) {
            if (column(done + j) < p.in_channels) before[j] = *place(j);
          }
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          const float sum = sums[i][(done + j) / 2 * 4 + 2 * half + j % 2];
          if (column(done + j) < p.in_channels) *place(j) = before[j] + sum;
        }
      }
    }
#pragma unroll
    for (int j = 0; j < kColumns / 2; ++j) sums[i][j] = 0;
  }
}

// The result itself, where nothing else adds to it.
template <int kColumns, int kSlabs>
__device__ __forceinline__ void store(const Params& p, Sums<kColumns, kSlabs>& sums) {
  const Job job(p, block_anew());
  int64_t offset[kSlabs][2];  // of each row; -1 where it stands for nothing
#pragma unroll
  for (int i = 0; i < kSlabs; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const PairOfRow pair(p, job.tap_group, job.first_row + row_of(kSlabs, i, half));
      offset[i][half] =
          row_of(kSlabs, i, half) < job.rows && pair.is_there(p) ? pair.result_offset(p) : -1;
    }
  }
  const int first = job.column_tile * kColumns + threadIdx.x % 4 * 2;
#pragma unroll
  for (int j = 0; j < kColumns / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int column = first + 8 * j + e;
      if (column >= p.in_channels) continue;
      float* to =
          p.result.data + (int64_t{job.group} * p.in_channels + column) * p.result.stride[0];
#pragma unroll
      for (int i = 0; i < kSlabs; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if (offset[i][half] >= 0) to[offset[i][half]] = sums[i][4 * j + 2 * half + e];
        }
      }
    }
  }
}

template <Precision kPrecision, int kColumns, int kSlabs>
__device__ __forceinline__ void consume(const Params& p, const Job& job, uint32_t positions,
                                        uint32_t stages, uint32_t full, uint32_t empty) {
  constexpr bool kFull = kPrecision == Precision::fp32;
  constexpr int kChunkBytes = 128 * kColumns;
  int row_bytes[kSlabs][2];
#pragma unroll
  for (int i = 0; i < kSlabs; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = row_of(kSlabs, i, half);
      const PairOfRow pair(p, job.tap_group, job.first_row + row);
      // Rows that stand for nothing read what the first position's first row does.
      row_bytes[i][half] =
          row < job.rows
              ? min(pair.channel - job.channel, job.channels - 1) * p.channel_pitch +
                    place_bytes(p, 0, p.tap_step[0] * pair.local[0], p.tap_step[1] * pair.local[1],
                                place_in_line(p, p.tap_step[2] * pair.local[2]))
              : 0;
    }
  }
  Sums<kColumns, kSlabs> sums = {};
  const uint32_t table = positions + threadIdx.x % 4 * 8;
  const int chunks = p.positions / kChunk;
  sm90::Ring ring;
  int until_flush = p.flush_tiles;
  bool flushed = false;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile, ring.next(p.stages)) {
    sm90::barrier_wait(full + 8 * ring.stage, ring.parity);
    const uint32_t b = stages + ring.stage * p.stage_bytes, a = b + p.packed_bytes;
    uint32_t row[kSlabs][2];
#pragma unroll
    for (int i = 0; i < kSlabs; ++i) {
      row[i][0] = a + row_bytes[i][0];
      row[i][1] = a + row_bytes[i][1];
    }
    if constexpr (kFull) {
#pragma unroll 1
      for (int chunk = 0; chunk < chunks; ++chunk) {
        uint32_t x[4][kSlabs][4];
        gather<4, kSlabs>(x, row, table + 128 * chunk);
        multiply_fp32<kColumns, kSlabs>(sums, x, b + chunk * kChunkBytes, chunks * kChunkBytes);
      }
    } else {
      multiply_tf32<kColumns, kSlabs>(sums, row, table, b, chunks, p.boxes);
      sm90::wgmma_wait<0>();
      sm90::pin(sums);
    }
    // This warp's wgmma are done, and all that it read is in registers that they used.
    sm90::release(empty, ring);
    if (--until_flush == 0 && tile + 1 < job.end_tile) {
      flush<kColumns, kSlabs>(p, sums, flushed);
      flushed = true;
      until_flush = p.flush_tiles;
    }
  }
  if (p.splits == 1 && p.flush_tiles == 0) {
    store<kColumns, kSlabs>(p, sums);
  } else {
    flush<kColumns, kSlabs>(p, sums, flushed);
  }
}

}  // namespace convt3d::cuda::tap_gemm
