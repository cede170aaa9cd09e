// SPDX-License-Identifier: BSD-3-Clause
// Sums of a tile whose products several blocks share, each a part of K: each warp leaves its part
// in global memory, and the one that comes last adds up what the same warp of all these blocks
// left, in the order of the blocks: the same result whoever comes last. Nobody waits.
#pragma once
#include <cstdint>

#include "cuda/sm90/joined_sums.h"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::sm90 {

// A kernel's parameter. A block may begin within one tile and end within another.
struct Joining {
  float* memory;      // 16-byte aligned; of each block two tiles
  unsigned* arrived;  // of each block's last tile and each warp, zeros at the start
  int threads;        // of a block that have sums
};

// The blocks that share a tile: `count` from `first` on, of which `first` alone ends with it.
struct Part {
  int first, count;
};

// Of a block's first threads.
class JoinedSums {
 public:
  __device__ explicit JoinedSums(const Joining& joining) : joining_(joining) {}

  // Whether this warp is the last; then `sum` is of all parts. No wgmma on it is in flight.
  template <int kTiles, int kSums>
  __device__ __forceinline__ bool join(const Part& part, float (&sum)[kTiles][kSums]) const {
    if (all_say(part.count == 1)) return true;
    wait_for_earlier_launch();  // zeros in `arrived`, and nobody uses `memory`
    const int block = blockIdx.x;
    unsigned* const arrived =
        joining_.arrived + part.first * (joining_.threads / 32) + threadIdx.x / 32;
    // Of two parts either order gives the same: what is last need not be left.
    const bool pair = all_say(part.count == 2);
    const float4* const other =
        place<kTiles * kSums>(part, part.first + (part.first == block ? 1 : 0));
    if (pair && all_say(has_come(arrived))) {
      add(other, sum);
      return true;
    }
    float4* const mine = place<kTiles * kSums>(part, block);
#pragma unroll
    for (int i = 0; i < kTiles * kSums; i += 4) {
      const float* const four = &sum[i / kSums][i % kSums];
      mine[i / 4 * 32] = make_float4(four[0], four[1], four[2], four[3]);
    }
    __threadfence();  // written -> counted
    __syncwarp();
    unsigned before = 0;
    if (threadIdx.x % 32 == 0) before = atomicAdd(arrived, 1);
    if (!any_says(before + 1 == part.count)) return false;
    __threadfence();  // counted -> read
    if (pair) {
      add(other, sum);
      return true;
    }
#pragma unroll
    for (int i = 0; i < kTiles * kSums; ++i) sum[i / kSums][i % kSums] = 0;
#pragma unroll 1
    for (int b = part.first; all_say(b < part.first + part.count); ++b) {
      add(place<kTiles * kSums>(part, b), sum);
    }
    return true;
  }

 private:
  static __device__ __forceinline__ bool has_come(const unsigned* arrived) {
    unsigned number;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(number) : "l"(arrived) : "memory");
    return number != 0;
  }
  // A warp's answers, which the compiler sees to be one: else it serialises wgmma, C7520.
  static __device__ __forceinline__ bool all_say(bool answer) { return __all_sync(~0u, answer); }
  static __device__ __forceinline__ bool any_says(bool answer) { return __any_sync(~0u, answer); }

  template <int kAll>
  __device__ __forceinline__ float4* place(const Part& part, int block) const {
    const int tile = 2 * block + (block == part.first ? 1 : 0);
    return reinterpret_cast<float4*>(joining_.memory) +
           int64_t{tile} * (joining_.threads * kAll / 4) + threadIdx.x / 32 * (kAll / 4 * 32) +
           threadIdx.x % 32;
  }

  template <int kTiles, int kSums>
  __device__ __forceinline__ void add(const float4* from, float (&sum)[kTiles][kSums]) const {
    constexpr int kAtOnce = kTiles * kSums % 32 == 0 ? 8 : 4;  // loads in flight; limit: registers
    static_assert(kTiles * kSums % (4 * kAtOnce) == 0);
#pragma unroll
    for (int i = 0; i < kTiles * kSums; i += 4 * kAtOnce) {
      float4 part[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) part[j] = __ldcg(from + (i / 4 + j) * 32);
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        float* const four = &sum[(i + 4 * j) / kSums][(i + 4 * j) % kSums];
        four[0] += part[j].x;
        four[1] += part[j].y;
        four[2] += part[j].z;
        four[3] += part[j].w;
      }
      asm volatile("" ::: "memory");  // loads that are hoisted take registers
    }
  }

  const Joining& joining_;
};

}  // namespace convt3d::cuda::sm90
