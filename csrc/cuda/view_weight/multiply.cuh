// SPDX-License-Identifier: BSD-3-Clause
// The products of one box, of a warpgroup: A gathered from the views (or runs of it), B lines of
// input.
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/sm90/line.h"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"
#include "cuda/view_weight/params.h"
#include "plan/description.h"

namespace convt3d::cuda::view_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A of so many steps of 8 positions.
template <int kSteps, int kUnits>
using Gathered = uint32_t[kSteps][kUnits][4];

// The words of this thread's channels at a row: `at`, swizzled.
template <int kUnits>
__device__ __forceinline__ void load_row(uint32_t (&x)[kUnits][4], int column, uint32_t at,
                                         uint32_t swizzle) {
  const uint32_t address = at ^ (at >> 3 & swizzle);
  if constexpr (kUnits == 2) {
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0][column]), "=r"(x[0][column + 1]), "=r"(x[1][column]),
                   "=r"(x[1][column + 1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
                 : "=r"(x[0][column]), "=r"(x[0][column + 1])
                 : "r"(address)
                 : "memory");
  }
}

template <int kSteps, int kUnits>
__device__ __forceinline__ void gather(Gathered<kSteps, kUnits>& x, uint32_t rows, uint32_t table,
                                       uint32_t swizzle) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    uint32_t first, second;
    asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
                 : "=r"(first), "=r"(second)
                 : "r"(table + 32 * k)
                 : "memory");
    load_row<kUnits>(x[k], 0, rows + first, swizzle);
    load_row<kUnits>(x[k], 2, rows + second, swizzle);
  }
}

// Eight positions of a line and those that the taps of a run meet behind them, of two channels.
template <int kTaps>
using Run = uint32_t[kRunPositions - 1 + kTaps][2];

template <int kTaps>
__device__ __forceinline__ void load_run(const Params& p, Run<kTaps>& x, uint32_t rows,
                                         uint32_t table) {
  uint32_t at = rows + load_shared(table);
#pragma unroll
  for (int i = 0; i < kRunPositions - 1 + kTaps; ++i, at += p.out_width * kElementBytes) {
    asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
                 : "=r"(x[i][0]), "=r"(x[i][1])
                 : "r"(at ^ (at >> 3 & p.swizzle))
                 : "memory");
  }
}

// Lines of input as B.
struct Lines {
  uint32_t address;

  // 8 positions of each line.
  __device__ __forceinline__ uint64_t step(int bytes) const {
    return sm90::swizzled_descriptor(address + bytes);
  }
  __device__ __forceinline__ void advance(int bytes) { address += bytes; }
};

// `box`: all products of a box, `runs`: the same of runs. `lines`, `rows`: of the stage; `table`:
// of this thread.
template <Precision kPrecision, int kColumns, int kUnits>
struct Multiply;

template <int kColumns, int kUnits>
struct Multiply<Precision::tf32, kColumns, kUnits> {
  using Sums = float[kUnits][kColumns / 2];
  using Product = sm90::Wgmma<float, kColumns>;

  static __device__ __forceinline__ void start(Sums& sum, const Gathered<2, kUnits>& x,
                                               const Lines& lines) {
    sm90::wgmma_fence();
#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
      for (int i = 0; i < kUnits; ++i) Product::run(sum[i], x[k][i], lines.step(32 * k), 1);
    }
    sm90::wgmma_commit();
  }

  // 16 positions are gathered while those before are multiplied.
  static __device__ __forceinline__ void box(const Params& p, Sums& sum, uint32_t first_line,
                                             uint32_t rows, uint32_t table) {
    constexpr int kHalf = sm90::kLineBytes / 2;
    Lines lines{first_line};
    Gathered<2, kUnits> x, y;
#pragma unroll 1
    for (int left = p.positions / sm90::kChunk; left > 0; --left) {
      gather<2, kUnits>(x, rows, table, p.swizzle);
      start(sum, x, lines);
      sm90::wgmma_wait<1>();  // those of y
      gather<2, kUnits>(y, rows, table + kHalf, p.swizzle);
      lines.advance(kHalf);
      start(sum, y, lines);
      sm90::wgmma_wait<1>();  // those of x
      lines.advance(sm90::kLineBytes * kColumns - kHalf);
      table += sm90::kLineBytes;
    }
    sm90::wgmma_wait<0>();
  }

  // Step k has positions 2 * k and 2 * k + 1 of each thread's eight. The other warpgroup multiplies
  // while this one loads.
  static __device__ __forceinline__ void runs(const Params& p, Sums& sum, uint32_t first_line,
                                              uint32_t rows, uint32_t table) {
    // Limit: registers of A, whose fours begin at even rows and are copied for the others.
    constexpr int kSteps = kRunPositions / 2, kAtOnce = kUnits > 5 ? 2 : kSteps;
    Lines lines{first_line};
#pragma unroll 1
    for (int left = p.positions / sm90::kChunk; left > 0; --left) {
      Run<kUnits> x;
      load_run<kUnits>(p, x, rows, table);
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
        if (k % kAtOnce == 0) sm90::wgmma_fence();
#pragma unroll
        for (int i = 0; i < kUnits; ++i) {
          const int at = 2 * k + i;
          const uint32_t a[4] = {x[at][0], x[at][1], x[at + 1][0], x[at + 1][1]};
          Product::run(sum[i], a, lines.step(32 * k), 1);
        }
        if (k % kAtOnce == kAtOnce - 1) {
          sm90::wgmma_commit();
          sm90::wgmma_wait<0>();
        }
      }
      table += sm90::kLineBytes;
      lines.advance(sm90::kLineBytes * kColumns);
    }
  }
};

// float32 as three products of TF32 numbers. The tensor cores truncate as they add: what is
// multiplied at once starts from zero, small products first, and is added with rounding.
template <int kColumns, int kUnits>
struct Multiply<Precision::fp32, kColumns, kUnits> {
  using Sums = float[kUnits][kColumns / 2];
  using Product = sm90::Wgmma<float, kColumns>;

  // Waits for the products of `part`.
  static __device__ __forceinline__ void finish(Sums& sum, Sums& part) {
    sm90::wgmma_wait<0>();
    sm90::pin(part);
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns / 2; ++j) sum[i][j] += part[i][j];
    }
  }

  template <int kSteps>
  static __device__ __forceinline__ void start(Sums& part, const Gathered<kSteps, kUnits>& high,
                                               const Gathered<kSteps, kUnits>& low,
                                               const Lines& lines, const Lines& low_lines) {
    sm90::wgmma_fence();
#pragma unroll
    for (int factor = 0; factor < 3; ++factor) {
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
#pragma unroll
        for (int i = 0; i < kUnits; ++i) {
          Product::run(part[i], factor == 0 ? low[k][i] : high[k][i],
                       (factor == 1 ? low_lines : lines).step(32 * k), factor + k > 0);
        }
      }
    }
    sm90::wgmma_commit();
  }

  // A thread gathers while what it gathered before is multiplied: 32 positions, or 16, as registers
  // allow.
  static __device__ __forceinline__ void box(const Params& p, Sums& sum, uint32_t first_line,
                                             uint32_t rows, uint32_t table) {
    constexpr int kSteps = kUnits == 1 ? 4 : 2;
    constexpr int kBytes = 32 * kSteps, kTimes = sm90::kLineBytes / kBytes;
    Lines lines{first_line}, low_lines{first_line + p.input_bytes / 2};
    Gathered<kSteps, kUnits> x;
    gather<kSteps, kUnits>(x, rows, table, p.swizzle);
#pragma unroll 1
    for (int left = p.positions / sm90::kChunk; left > 0; --left) {
#pragma unroll
      for (int time = 0; time < kTimes; ++time) {
        Gathered<kSteps, kUnits> high, low;
#pragma unroll
        for (int k = 0; k < kSteps; ++k) {
#pragma unroll
          for (int i = 0; i < kUnits; ++i) split_tf32(x[k][i], high[k][i], low[k][i]);
        }
        Sums part;
        start<kSteps>(part, high, low, lines, low_lines);
        // Behind the last line, what is gathered is not used.
        if (time + 1 < kTimes || left > 1) table += kBytes;
        gather<kSteps, kUnits>(x, rows, table, p.swizzle);
        finish(sum, part);
        const int next = time + 1 < kTimes ? kBytes : sm90::kLineBytes * (kColumns - 1) + kBytes;
        lines.advance(next);
        low_lines.advance(next);
      }
    }
  }

  // As in TF32, four positions of each thread at a time.
  static __device__ __forceinline__ void runs(const Params& p, Sums& sum, uint32_t first_line,
                                              uint32_t rows, uint32_t table) {
    constexpr int kAtOnce = 4, kRows = kAtOnce - 1 + kUnits;
    Lines lines{first_line}, low_lines{first_line + p.input_bytes / 2};
#pragma unroll 1
    for (int left = p.positions / sm90::kChunk; left > 0; --left) {
      Run<kUnits> x;
      load_run<kUnits>(p, x, rows, table);
#pragma unroll
      for (int first = 0; first < kRunPositions; first += kAtOnce) {
        uint32_t high[kRows][2], low[kRows][2];
#pragma unroll
        for (int i = 0; i < kRows; ++i) split_tf32(x[first + i], high[i], low[i]);
        Sums part;
        sm90::wgmma_fence();
#pragma unroll
        for (int factor = 0; factor < 3; ++factor) {
#pragma unroll
          for (int k = 0; k < kAtOnce / 2; ++k) {
#pragma unroll
            for (int i = 0; i < kUnits; ++i) {
              const auto& of = factor == 0 ? low : high;
              const int at = 2 * k + i;
              const uint32_t a[4] = {of[at][0], of[at][1], of[at + 1][0], of[at + 1][1]};
              Product::run(part[i], a, (factor == 1 ? low_lines : lines).step(16 * first + 32 * k),
                           factor + k > 0);
            }
          }
        }
        sm90::wgmma_commit();
        finish(sum, part);
      }
      table += sm90::kLineBytes;
      lines.advance(sm90::kLineBytes * kColumns);
      low_lines.advance(sm90::kLineBytes * kColumns);
    }
  }
};

#endif

}  // namespace convt3d::cuda::view_weight
