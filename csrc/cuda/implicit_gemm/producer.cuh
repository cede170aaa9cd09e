// SPDX-License-Identifier: BSD-3-Clause
// The input's way into shared memory: halo rows of kSteps * 32 bytes of channels, whatever layout
// the tensor has.
#pragma once
#include <numeric>

#include "cuda/common/shared_memory.cuh"
#include "cuda/implicit_gemm/roles.cuh"
#include "cuda/implicit_gemm/tables.cuh"
#include "cuda/sm90/mbarrier.cuh"

namespace convt3d::cuda::implicit_gemm {

// Which halo rows of an item are read; the others, most of them outside the input, are zeros.
struct Inside {
  // Of Coordinates: guard bits less the first row, and the last row (by one too little where there
  // is none) with guard bits. A sum or difference has a guard bit unless it would be negative.
  uint32_t from, to;

  __device__ Inside(const Params& p, const Item& item) {
    int first[3], beyond[3];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const Residue& residue = *item.residues.axis[a];
      const int start = item.origin[1 + a] * p.axis[a].split + residue.halo_first;
      first[a] = min(max(-start, 0), p.axis[a].halo);
      beyond[a] = max(min(residue.num_inputs - start, residue.halo), 0);
    }
    from = Coordinates::kGuards - Coordinates::pack(0, first[0], first[1], first[2]);
    to = Coordinates::kGuards + Coordinates::pack(min(p.batch - item.origin[0], p.box[0]) - 1,
                                                  beyond[0] - 1, beyond[1] - 1, beyond[2] - 1);
  }
  __device__ bool operator()(Coordinates at) const {
    constexpr uint32_t kGuards = Coordinates::kGuards;
    return ((at.packed + from) & (to - at.packed) & kGuards) == kGuards;
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
        copy_async<16>(target + (row + i * kRows) * kPitch, copied[i] ? source + offset[i] : input,
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
