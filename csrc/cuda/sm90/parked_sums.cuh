// SPDX-License-Identifier: BSD-3-Clause
// Long chains of wgmmas in parts (chain.h): before an accumulator has had as many as it may, it is
// added, with rounding, to a sum in global memory, and starts again at zero. These sums are a
// thread's own, and few enough to stay in the L2 cache.
#pragma once
#include <cstdint>

#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::sm90 {

// A kernel's parameter.
struct Parking {
  float* memory;  // of all blocks, 16-byte aligned; null where no chain is longer than `limit`
  int limit;      // instructions
};

// Of a block's first kThreads threads.
template <int kThreads>
class ParkedSums {
 public:
  __device__ explicit ParkedSums(const Parking& parking) : parking_(parking) {}

  // The sums of another tile, starting at zero.
  __device__ void start() { chain_ = 0; }

  // Leaves zeros in `sum`. No wgmma on it is in flight, here and below.
  template <int kTiles, int kSums>
  __device__ __forceinline__ void park(float (&sum)[kTiles][kSums]) {
    pin(sum);
    exchange<true>(sum);
    chain_ = kParked;
  }

  // Parks after `done` instructions if up to `next` more are too many. (Where a group of wgmmas
  // ends, not where the next begins: there ptxas serialises, C7515.)
  template <int kTiles, int kSums>
  __device__ __forceinline__ void add(int done, int next, float (&sum)[kTiles][kSums]) {
    chain_ += done;
    if (parking_.memory && chain_ % kParked + next > parking_.limit) park(sum);
  }

  // Adds what is parked to `sum`.
  template <int kTiles, int kSums>
  __device__ __forceinline__ void collect(float (&sum)[kTiles][kSums]) {
    if (chain_ >= kParked) exchange<false>(sum);
    chain_ = 0;
  }

 private:
  static constexpr int kParked = 1 << 24;

  template <bool kPark, int kTiles, int kSums>
  __device__ __forceinline__ void exchange(float (&sum)[kTiles][kSums]) {
    static_assert(kSums % 4 == 0);
    float4* const mine = reinterpret_cast<float4*>(parking_.memory) +
                         int64_t{blockIdx.x} * (kThreads * kTiles * kSums / 4) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kTiles * kSums; i += 4) {
      float* const four = &sum[i / kSums][i % kSums];
      float4* const place = mine + i / 4 * kThreads;
      if (chain_ >= kParked) {
        const float4 before = *place;
        four[0] += before.x;
        four[1] += before.y;
        four[2] += before.z;
        four[3] += before.w;
      }
      if constexpr (kPark) {
        *place = make_float4(four[0], four[1], four[2], four[3]);
        four[0] = four[1] = four[2] = four[3] = 0;
      }
      // Four at once: loads that are hoisted further take registers.
      asm volatile("" ::: "memory");
    }
  }

  const Parking& parking_;
  int chain_ = 0;  // instructions since the last exchange, and whether there was one
};

}  // namespace convt3d::cuda::sm90
