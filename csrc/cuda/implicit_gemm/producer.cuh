// SPDX-License-Identifier: BSD-3-Clause
// The input's way into shared memory: halo rows of kSteps * 32 bytes of channels, whatever layout
// the tensor has.
#pragma once
#include <numeric>

#include "cuda/common/ldmatrix.cuh"
#include "cuda/implicit_gemm/roles.cuh"
#include "cuda/implicit_gemm/tables.cuh"
#include "cuda/sm90/mbarrier.cuh"

namespace convt3d::cuda::implicit_gemm {

// Which halo rows of an item lie in the input; the others are zeros.
struct Inside {
  int first[3], extent[3], batch;

  __device__ Inside(const Params& p, const Item& item) {
    batch = p.batch - item.origin[0];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      first[a] = item.origin[1 + a] + p.axis[a].halo_first;
      extent[a] = p.axis[a].input;
    }
  }
  __device__ bool operator()(Coordinates at) const {
    return (at[0] < batch) & (unsigned(first[0] + at[1]) < unsigned(extent[0])) &
           (unsigned(first[1] + at[2]) < unsigned(extent[1])) &
           (unsigned(first[2] + at[3]) < unsigned(extent[2]));
  }
};

// One chunk of channels of all rows; arrives on `full` when it is there.
template <typename T, int kSteps, typename Role>
__device__ __forceinline__ void fill(const Params& p, const Shared& shared, const Inside& inside,
                                     int64_t first, int chunk, uint32_t stage, uint32_t full) {
  constexpr int kThreads = Role::kProducerThreads;
  constexpr int kVector = 16 / sizeof(T), kPieces = 2 * kSteps, kPitch = kSteps * 32 + 16;
  const int thread = threadIdx.x - kConsumerThreads;
  const int first_channel = chunk * kPieces * kVector;
  if (p.vectorized) {
    constexpr int kRows = kThreads / kPieces, kInFlight = 4;  // rows at once, and of a thread
    const int piece = thread % kPieces;
    const int channel = first_channel + piece * kVector;
    const int there = min(max(p.in_channels - channel, 0), kVector) * static_cast<int>(sizeof(T));
    const T* input = static_cast<const T*>(p.input);
    const T* source = input + first + channel;
    const uint32_t target = stage + piece * 16;
    int row = thread / kPieces;
    if (row >= kRows) row = p.halo_rows;  // a remainder of the threads has no row
    for (; row < p.halo_rows; row += kRows * kInFlight) {
      int64_t offset[kInFlight];
      bool copied[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int at = min(row + i * kRows, p.halo_rows - 1);
        offset[i] = shared.halo_offset[at];
        copied[i] = (there > 0) & inside(shared.halo_coordinates[at]);
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        if (row + i * kRows >= p.halo_rows) break;
        copy_async(target + (row + i * kRows) * kPitch, copied[i] ? source + offset[i] : input,
                   copied[i] ? there : 0);
      }
    }
    sm90::barrier_arrive_after_copies(full);
    return;
  }
  // Neighbouring threads on neighbouring rows: coalesced where positions are innermost.
  constexpr int kInFlight = std::gcd(kPieces, Role::kPieces);
  const int64_t stride = p.input_stride[1];
  const bool whole = first_channel + kPieces * kVector <= p.in_channels;
  for (int row = thread; row < p.halo_rows; row += kThreads) {
    const bool loaded = inside(shared.halo_coordinates[row]);
    const T* source =
        static_cast<const T*>(p.input) + first + shared.halo_offset[row] + first_channel * stride;
    const uint32_t target = stage + row * kPitch;
#pragma unroll 1
    for (int piece = 0; piece < kPieces; piece += kInFlight) {
      alignas(16) T value[kInFlight][kVector];
#pragma unroll
      for (int i = 0; i < kInFlight * kVector; ++i) {
        const int channel = first_channel + piece * kVector + i;
        const bool there = whole ? loaded : loaded && channel < p.in_channels;
        value[i / kVector][i % kVector] = there ? *source : T();
        source += stride;
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        store_shared(target + (piece + i) * 16, *reinterpret_cast<const uint4*>(value[i]));
      }
    }
  }
  sm90::barrier_arrive(full);
}

}  // namespace convt3d::cuda::implicit_gemm
