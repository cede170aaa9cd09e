// SPDX-License-Identifier: BSD-3-Clause
// Where patch_kernel's sums go: a thread has two rows of a tile, and of every eight columns two.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/shuffle_gemm/patch_params.h"

namespace convt3d::cuda::shuffle_gemm {

// The first position of a tile.
struct PatchTile {
  int first[4];  // n, d, h, w

  __device__ PatchTile(const PatchParams& p, int tile) {
#pragma unroll
    for (int axis = 3; axis > 0; --axis) {
      const int next = static_cast<int>(p.boxes[axis].divide(tile));
      first[axis] = (tile - next * static_cast<int>(p.boxes[axis].divisor)) *
                    static_cast<int>(p.box[axis].divisor);
      tile = next;
    }
    first[0] = tile * static_cast<int>(p.box[0].divisor);
  }
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A row of a tile: its position in the box, a byte for each axis, as registers are few; n is
// kNowhere where there is none.
struct PatchRow {
  static constexpr uint32_t kNowhere = 255;
  static_assert(kPatchRows <= 128);
  uint32_t bytes = 0;

  __device__ PatchRow(const PatchParams& p, int row) {
#pragma unroll
    for (int axis = 3; axis > 0; --axis) {
      const int next = p.box[axis].take(&row);
      bytes |= static_cast<uint32_t>(row) << 8 * axis;
      row = next;
    }
    bytes |= row < static_cast<int>(p.box[0].divisor) ? row : kNowhere;
  }
  __device__ int at(int axis) const { return static_cast<int>(bytes >> 8 * axis & 255); }
  __device__ bool is_there() const { return (bytes & 255) != kNowhere; }
  __device__ bool is_in(const PatchParams& p, const PatchTile& tile) const {
    bool in = is_there();
#pragma unroll
    for (int axis = 0; axis < 4; ++axis) in &= tile.first[axis] + at(axis) < p.extent[axis];
    return in;
  }
  __device__ int64_t offset(const PatchParams& p, const PatchTile& tile) const {
    int64_t offset = 0;
#pragma unroll
    for (int axis = 0; axis < 4; ++axis) {
      offset += (tile.first[axis] + at(axis)) * p.result_stride[axis];
    }
    return offset;
  }
};

// Rows of this thread's sums: 0 and 1 of the first and the second half of a fragment. In NCDHW they
// are neighbours, which it stores together.
template <bool kLines>
__device__ __forceinline__ int patch_row(int half) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  return warp * 16 + (kLines ? lane / 4 * 2 + half : lane / 4 + half * 8);
}

// Whether a warpgroup's pair of eight columns is stored by this block of a cluster.
template <int kColumns>
__device__ __forceinline__ bool is_own_pair(const PatchParams& p, int pair, int rank) {
  const int group = static_cast<int>(threadIdx.x) / 128;
  int place = group * (kColumns / 16) + pair;
  p.splits.take(&place);
  return place == rank;
}

// Sums of sixteen columns from `column` on to NDHWC: whole sectors of 32 bytes from each quad.
template <typename T>
__device__ __forceinline__ void store_channels(const PatchParams& p, const float (&sum)[8],
                                               int column, T* const (&row)[2]) {
  const int quad = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if constexpr (sizeof(T) == 2) {
      // Lanes 0 and 2 get the first eight columns, 1 and 3 the others, four each.
      const uint32_t first = pack_pair<T>(sum[2 * half], sum[2 * half + 1]);
      const uint32_t second = pack_pair<T>(sum[4 + 2 * half], sum[5 + 2 * half]);
      const bool odd = quad % 2 != 0;
      const uint32_t other = __shfl_xor_sync(~0u, odd ? first : second, 1);
      const int at = column + (odd ? 8 + 2 * (quad - 1) : 2 * quad);
      if (row[half] != nullptr && at < p.columns) {
        *reinterpret_cast<uint2*>(row[half] + at) =
            odd ? make_uint2(other, second) : make_uint2(first, other);
      }
    } else {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int at = column + 8 * j + 2 * quad;
        if (row[half] != nullptr && at < p.columns) {
          *reinterpret_cast<float2*>(row[half] + at) =
              make_float2(sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]);
        }
      }
    }
  }
}

// The same to NCDHW: eight neighbouring pairs of positions of each column.
template <typename T>
__device__ __forceinline__ void store_lines(const PatchParams& p, const float (&sum)[8], int column,
                                            T* const (&row)[2]) {
  const int quad = static_cast<int>(threadIdx.x) % 4;
  const int64_t first_offset = (column + 2 * quad) * p.channel_stride;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int step = i / 2 * 8 + i % 2;
    if (column + 2 * quad + step >= p.columns) continue;
    const int64_t offset = first_offset + step * p.channel_stride;
    const float first = sum[i / 2 * 4 + i % 2], second = sum[i / 2 * 4 + i % 2 + 2];
    if (p.joins_pairs) {
      if (row[0] == nullptr) continue;
      T* const to = row[0] + offset;
      if constexpr (sizeof(T) == 2) {
        *reinterpret_cast<uint32_t*>(to) = pack_pair<T>(first, second);
      } else {
        *reinterpret_cast<float2*>(to) = make_float2(first, second);
      }
      continue;
    }
    if (row[0] != nullptr) row[0][offset] = narrow<T>(first);
    if (row[1] != nullptr) row[1][offset] = narrow<T>(second);
  }
}

// 16-bit sums to NCDHW by way of shared memory, where eight rows are 16 bytes of the result: a
// warpgroup turns 64 columns at a time into lines of its 64 rows, and eight lanes store a line.
template <typename T, int kColumns>
__device__ __forceinline__ void store_staged(const PatchParams& p, const float (&sum)[kColumns / 2],
                                             int first_column, int rank, uint32_t staging, T* to) {
  const int thread = static_cast<int>(threadIdx.x) % 128,
            group = static_cast<int>(threadIdx.x) / 128;
  const int lane = thread % 32, quad = lane % 4;
  constexpr int kPass = 64;
  staging += group * (64 * kPatchStagingPitch);
  const uint32_t own = staging + (thread / 32 * 16 + lane / 4 * 2) * 2;
#pragma unroll
  for (int pass = 0; pass < kColumns / kPass; ++pass) {
    // The warpgroup has read what it staged before.
    asm volatile("bar.sync %0, 128;" ::"r"(2 + group) : "memory");
#pragma unroll
    for (int i = 0; i < kPass / 4; ++i) {
      const int column = i / 2 * 8 + 2 * quad + i % 2;
      const int at = pass * (kPass / 2) + i / 2 * 4 + i % 2;
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(own + column * kPatchStagingPitch),
                   "r"(pack_pair<T>(sum[at], sum[at + 2]))
                   : "memory");
    }
    asm volatile("bar.sync %0, 128;" ::"r"(2 + group) : "memory");  // the lines are there
#pragma unroll
    for (int i = 0; i < kPass / 16; ++i) {
      const int line = thread / 8 + 16 * i, column = first_column + pass * kPass + line;
      if (to == nullptr || column >= p.columns) continue;
      if (!is_own_pair<kColumns>(p, pass * (kPass / 16) + i, rank)) continue;
      uint4 value;
      asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                   : "r"(staging + line * kPatchStagingPitch + thread % 8 * 16)
                   : "memory");
      *reinterpret_cast<uint4*>(to + column * p.channel_stride) = value;
    }
  }
}

#endif

}  // namespace convt3d::cuda::shuffle_gemm
