// SPDX-License-Identifier: BSD-3-Clause
// The sums of a warp of plane_kernel.cuh, 16 channels of all columns of a tile, to grad_input.
// Column n is position n % pitch of line n / pitch; what lies behind a line's end is not stored.
// Where each is, from the tile's first position on, is found once (`places`): a lane has two
// channels of two neighbouring columns, eight lanes a sector of each.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/halo_gemm/plane_params.h"
#include "cuda/halo_gemm/thread_here.cuh"

namespace convt3d::cuda::halo_gemm {

// Of 16 rows of A, the channel of row `row` of half `half`: both of a lane are neighbours.
__host__ __device__ constexpr int plane_channel(int half, int row) { return row * 2 + half; }

inline constexpr int kNoPlace = 0x7FFFFFFF;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// By all threads, before the first plane.
template <int kColumns>
__device__ __forceinline__ void find_places(const PlaneParams& p, uint32_t places) {
  for (int column = threadIdx.x; column < kColumns; column += blockDim.x) {
    const int line = column / p.pitch, at = column - line * p.pitch;
    const int offset =
        line * static_cast<int>(p.result_stride[3]) + at * static_cast<int>(p.result_stride[4]);
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(places + 4 * column),
                 "r"(at < p.result_extent[2] && line < p.lines ? offset : kNoPlace));
  }
}

// `result`: of the tile's first position and the warp's first channel; `channels`, `lines`: that
// there are from there on.
template <typename T, int kColumns>
__device__ __forceinline__ void store_positions(const PlaneParams& p, T* result, int channels,
                                                int lines, uint32_t places,
                                                const float (&sum)[kColumns / 2]) {
  const int lane = thread_here() % 32, channel = lane / 4 * 2;
  // Positions of later lines are behind it.
  const int end = channel < channels ? lines * static_cast<int>(p.result_stride[3]) : 0;
  const uint32_t from = places + lane % 4 * 8;
  result += channel;
#pragma unroll
  for (int b = 0; b < kColumns / 8; ++b) {
    uint32_t place[2];
    load_words(place, from + b * 32);
    const uint32_t first = pack_pair<T>(sum[4 * b], sum[4 * b + 2]);
    const uint32_t second = pack_pair<T>(sum[4 * b + 1], sum[4 * b + 3]);
    if (static_cast<int>(place[0]) < end) *reinterpret_cast<uint32_t*>(result + place[0]) = first;
    if (static_cast<int>(place[1]) < end) *reinterpret_cast<uint32_t*>(result + place[1]) = second;
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
