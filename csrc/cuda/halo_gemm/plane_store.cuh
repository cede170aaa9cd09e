// SPDX-License-Identifier: BSD-3-Clause
// The sums of a warp of plane_kernel.cuh, 16 channels of all columns of a tile, to grad_input.
// Column n is position n % pitch of line n / pitch; what lies behind a line's end is not stored.
// movmatrix exchanges rows and columns, then a lane has 4 channels of a position.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_gemm/plane_params.h"

namespace convt3d::cuda::halo_gemm {

// Of 16 rows of A, the channel of row `row` of half `half`: four rows of a lane, two of each half,
// are neighbours after movmatrix.
__host__ __device__ constexpr int plane_channel(int half, int row) {
  return row / 2 * 4 + half * 2 + row % 2;
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Columns from `column` on, each 8 behind the one before.
struct PlaneColumn {
  int line = 0, at;

  __device__ PlaneColumn(const PlaneParams& p, int column) : at(column) { settle(p); }
  __device__ void next(const PlaneParams& p) {
    at += 8;
    settle(p);
  }
  // What follows is computed here, not columns ahead: ptxas has no registers for it, and spills.
  __device__ void pin() { asm volatile("" : "+r"(line), "+r"(at)); }

 private:
  __device__ void settle(const PlaneParams& p) {
    if (at >= p.pitch) at -= p.pitch, ++line;  // a line is at least 8 long
  }
};

// The thread's number, so that what depends on it is computed here and not before the first stage,
// where ptxas has no registers to keep it in.
__device__ __forceinline__ int thread_here() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

template <typename T>
__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}

__device__ __forceinline__ uint32_t exchange_rows(uint32_t pair) {
  uint32_t result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

// What a lane stores: of 8 columns of a block, 2 of channel lane / 4 of each half of the rows. They
// are rounded at once, which frees half of the registers.
template <typename T, int kColumns>
struct PlaneSums {
  uint32_t pair[kColumns / 8][2];  // block, half

  __device__ explicit PlaneSums(const float (&sum)[kColumns / 2]) {
#pragma unroll
    for (int i = 0; i < kColumns / 4; ++i) {
      pair[i / 2][i % 2] = pack_pair<T>(sum[2 * i], sum[2 * i + 1]);
      asm volatile("" : "+r"(pair[i / 2][i % 2]));
    }
  }
};

// `result`: of the tile's first position and the warp's first channel; `channels`, `lines`: that
// there are from there on.
template <typename T, int kColumns>
__device__ __forceinline__ void store_positions(const PlaneParams& p, T* result, int channels,
                                                int lines, const PlaneSums<T, kColumns>& sums) {
  const int lane = thread_here() % 32;
  const int64_t of_line = p.result_stride[3], of_position = p.result_stride[4];
  const int width = p.result_extent[2];
  PlaneColumn column(p, lane / 4);
  const int channel = lane % 4 * 4;
#pragma unroll
  for (int b = 0; b < kColumns / 8; ++b) {
    column.pin();
    uint2 four;
    four.x = exchange_rows(sums.pair[b][0]);
    four.y = exchange_rows(sums.pair[b][1]);
    if (column.line < lines && column.at < width && channel < channels) {
      *reinterpret_cast<uint2*>(result + column.line * of_line + column.at * of_position +
                                channel) = four;
    }
    column.next(p);
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
