// SPDX-License-Identifier: BSD-3-Clause
// The sums of a warp of gather_kernel.cuh, 16 positions of a line and all columns, to grad_input in
// NCDHW. A lane has two positions (gather_operand.cuh) of two channels of eight.
//
//   aligned   neighbours: eight lanes have one or two sectors of a channel. Else:
//   16 bits   a lane has four positions of a channel, four lanes a sector of 32 bytes
//   float     eight lanes have a sector of a channel as it is
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/four_rows.cuh"
#include "cuda/halo_gemm/gather_params.h"
#include "cuda/halo_gemm/thread_here.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// `result`: of the run's first position and the first column; `positions`, `channels`: that there
// are from there on.
template <typename T, int kColumns, bool kAligned>
__device__ __forceinline__ void store_run(const GatherParams& p, T* result, int positions,
                                          int channels, const float (&sum)[kColumns / 2]) {
  const int lane = thread_here() % 32, row = lane / 4, quad = lane % 4;
  const int64_t of_channel = p.result_stride[1];
  if constexpr (kAligned) {
    T* to = result + 2 * quad * of_channel + 2 * row;
    if (2 * row >= positions) return;  // their number is even
#pragma unroll
    for (int b = 0; b < kColumns / 8; ++b, to += 8 * of_channel) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        if (8 * b + 2 * quad + c >= channels) continue;
        const float first = sum[4 * b + c], second = sum[4 * b + 2 + c];
        if (p.pairs) {
          if constexpr (sizeof(T) == 2) {
            *reinterpret_cast<uint32_t*>(to + c * of_channel) = pack_pair<T>(first, second);
          } else {
            *reinterpret_cast<float2*>(to + c * of_channel) = make_float2(first, second);
          }
        } else {
          to[c * of_channel] = narrow<T>(first);
          to[c * of_channel + 1] = narrow<T>(second);
        }
      }
    }
  } else if constexpr (sizeof(T) == 2) {
    const int at = first_of_four_rows(lane);
    T* to = result + row * of_channel + at;
#pragma unroll
    for (int b = 0; b < kColumns / 8; ++b, to += 8 * of_channel) {
      const uint2 four = four_rows(lane, pack_pair<T>(sum[4 * b], sum[4 * b + 1]),
                                   pack_pair<T>(sum[4 * b + 2], sum[4 * b + 3]));
      const bool there = 8 * b + row < channels;
      if (p.pairs) {
        if (there && at < positions) *reinterpret_cast<uint2*>(to) = four;
      } else {
        const uint32_t parts[2] = {four.x, four.y};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const auto bits = static_cast<unsigned short>(parts[i / 2] >> i % 2 * 16);
          if (there && at + i < positions) reinterpret_cast<unsigned short*>(to)[i] = bits;
        }
      }
    }
  } else {
    T* to = result + 2 * quad * of_channel + row;
#pragma unroll
    for (int b = 0; b < kColumns / 8; ++b, to += 8 * of_channel) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        if (8 * b + 2 * quad + c >= channels) continue;
        if (row < positions) to[c * of_channel] = sum[4 * b + c];
        if (row + 8 < positions) to[c * of_channel + 8] = sum[4 * b + 2 + c];
      }
    }
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
