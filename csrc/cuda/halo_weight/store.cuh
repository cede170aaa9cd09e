// SPDX-License-Identifier: BSD-3-Clause
// A block's sums to its piece, or to the weight.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/halo_weight/params.h"

namespace convt3d::cuda::halo_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The sums to their piece: [unit][64 rows][in_channels]. `again`: added to what is there.
template <int kChannels, int kUnits>
__device__ __forceinline__ void put(float* piece, bool again,
                                    const float (&sum)[kUnits][kChannels / 2]) {
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
#pragma unroll
    for (int i = 0; i < kChannels / 4; ++i) {
      float2* at =
          reinterpret_cast<float2*>(piece + (u * kGroupRows + i % 2 * 8) * kChannels + i / 2 * 8);
      float2 value{sum[u][2 * i], sum[u][2 * i + 1]};
      if (again) {
        const float2 before = *at;
        value.x += before.x;
        value.y += before.y;
      }
      *at = value;
    }
  }
}

// Of consumers alone: all of them, or one warpgroup's.
__device__ __forceinline__ void meet(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// Where 8 out_channels of a unit belong: the first of them, and their tap; below zero: nowhere.
struct Place {
  int out, tap;
};

// The sums of a warpgroup's units to the weight, whose out_channels are contiguous, from in_channel
// `channel` on; place(u, row) says where rows of unit u belong. `again`: with those of the piece. A
// unit is turned around in shared memory, where stages were, [in_channel][64 rows]: 16-byte pieces
// moved so that no two that are written at once share a bank.
template <typename T, int kChannels, int kUnits, typename PlaceOf>
__device__ __forceinline__ void put_weight(const Target& t, int warpgroups, uint32_t memory,
                                           int channel, const float* piece, bool again,
                                           const float (&sum)[kUnits][kChannels / 2],
                                           const PlaceOf& place_of) {
  const int group = threadIdx.x / 128, thread = threadIdx.x % 128;
  const int row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  const uint32_t turned = memory + group * (kChannels * kGroupRows * kElementBytes);
  const auto place = [&](int in, int at) {
    return turned + in * (kGroupRows * kElementBytes) + (at / 8 ^ in / 2 % 8) * 16 +
           at % 8 * kElementBytes;
  };
  meet(1, warpgroups * 128);  // all are done with the stages
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    if (u > 0) meet(2 + group, 128);  // the last unit has been stored
#pragma unroll
    for (int i = 0; i < kChannels / 2; ++i) {
      const int of_row = i / 2 % 2 * 8, in = i / 4 * 8 + i % 2;
      float value = sum[u][i];
      if (again) value += piece[(u * kGroupRows + of_row) * kChannels + in];
      const T narrowed = narrow<T>(value);
      asm volatile("st.shared.b16 [%0], %1;" ::"r"(place(in + column, row + of_row)),
                   "h"(*reinterpret_cast<const unsigned short*>(&narrowed))
                   : "memory");
    }
    meet(2 + group, 128);  // the unit is there
    const int at = thread % 8 * 8;
    const auto [out, tap] = place_of(u, at);
    if (tap < 0) continue;
    const int line = tap / t.kernel[2], plane = line / t.kernel[1];
    T* const to = static_cast<T*>(t.data) + out + plane * t.stride[2] +
                  (line - plane * t.kernel[1]) * t.stride[3] +
                  (tap - line * t.kernel[2]) * t.stride[4];
#pragma unroll 4
    for (int in = thread / 8; in < kChannels; in += 16) {
      if (channel + in >= t.in_channels) break;
      T* const element = to + (channel + in) * t.stride[0];
      alignas(16) T value[8];
      asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(reinterpret_cast<uint32_t*>(value)[0]),
                     "=r"(reinterpret_cast<uint32_t*>(value)[1]),
                     "=r"(reinterpret_cast<uint32_t*>(value)[2]),
                     "=r"(reinterpret_cast<uint32_t*>(value)[3])
                   : "r"(place(in, at))
                   : "memory");
      if (t.whole_pieces && out + 8 <= t.out_channels) {
        *reinterpret_cast<uint4*>(element) = *reinterpret_cast<const uint4*>(value);
      } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          if (out + i < t.out_channels) element[i] = value[i];
        }
      }
    }
  }
}

#endif

}  // namespace convt3d::cuda::halo_weight
