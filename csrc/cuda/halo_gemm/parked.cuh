// SPDX-License-Identifier: BSD-3-Clause
// Tensor cores truncate as they add, about 1e-8 of the sum per instruction. Sums that take more
// instructions than kMaxChain are added up in parts: what has been summed so far is parked in the
// workspace, each thread's own, added to what was parked before, with rounding, and the tensor
// cores start at zero again. It stays in L2.
#pragma once
#include "cuda/halo_gemm/params.cuh"

namespace convt3d::cuda::halo_gemm {

template <int kFused, int kSums, int kThreads>
class ParkedSums {
 public:
  __device__ explicit ParkedSums(const Params& p)
      : mine_(p.parked + int64_t{blockIdx.x} * (kFused * kSums * kThreads) + threadIdx.x) {}

  __device__ __forceinline__ void start() { any_ = false; }
  // Adds what is parked to `sum`.
  __device__ __forceinline__ void collect(float (&sum)[kFused][kSums]) {
    if (!any_) return;
    any_ = false;
#pragma unroll
    for (int i = 0; i < kFused * kSums; ++i) {
      sum[i / kSums][i % kSums] += mine_[i * kThreads];
      fence(i);
    }
  }
  // Leaves zeros in `sum`.
  __device__ __forceinline__ void park(float (&sum)[kFused][kSums]) {
    collect(sum);
    any_ = true;
#pragma unroll
    for (int i = 0; i < kFused * kSums; ++i) {
      mine_[i * kThreads] = sum[i / kSums][i % kSums];
      sum[i / kSums][i % kSums] = 0;
      fence(i);
    }
  }

 private:
  // Keeps loads of later sums behind, or they would take registers.
  static __device__ __forceinline__ void fence(int i) {
    if (i % 8 == 7) asm volatile("" ::: "memory");
  }

  float* mine_;
  bool any_ = false;
};

}  // namespace convt3d::cuda::halo_gemm
