// SPDX-License-Identifier: BSD-3-Clause
// From sums to memory by way of a staging area in shared memory, which holds whole lines: a plane's
// lines lie side by side in the output too, so 16 bytes are stored at once from wherever they are
// aligned there, though a line may have an odd number of elements.
//
//   NCDHW  [channel][skew + position]   skew: elements between 16 bytes' alignment in memory and
//                                       the first position of this channel
//   NDHWC  [position][part][column]     chunks of 16 bytes (float32: two for a part); those of 128
//                                       bytes change places by the number of the 128 bytes, for
//                                       the banks' sake
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/group_gemm/params.cuh"

namespace convt3d::cuda::group_gemm {

// Four 8 x 16-byte matrices to shared memory. Lanes 8 * i .. 8 * i + 7 give the row addresses of
// matrix i, of which every lane has 4 bytes of row lane / 4.
__device__ __forceinline__ void store_matrices(uint32_t row_address, const uint32_t (&part)[4]) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row_address),
      "r"(part[0]), "r"(part[1]), "r"(part[2]), "r"(part[3])
      : "memory");
#else
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t row = __shfl_sync(0xffffffffu, row_address, i * 8 + lane / 4);
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(row + lane % 4 * 4), "r"(part[i]) : "memory");
  }
#endif
}

// NCDHW: the first element of a plane's lines in a channel.
__device__ __forceinline__ int64_t first_element(const GroupGemm& p, const Plane& plane,
                                                 int channel) {
  return (int64_t{plane.n} * p.out_channels + channel) * p.output_volume + plane.first;
}

// The low bits are all that counts.
template <typename T>
__device__ __forceinline__ int skew_of(const GroupGemm& p, int64_t element) {
  const auto base = static_cast<unsigned>(reinterpret_cast<uintptr_t>(p.output) / sizeof(T));
  return static_cast<int>((base + static_cast<unsigned>(element)) % kChunk<T>);
}

// Where position `at` and column `column` of a part wait, in elements.
template <typename T, bool kPlanes>
__device__ __forceinline__ int staged_at(const GroupGemm& p, int at, int part, int column,
                                         int skew) {
  if constexpr (kPlanes) return column * p.pitch + skew + at;
  const int chunk = (at * p.block_parts + part) * kColumnChunks<T> + column / kChunk<T>;
  return (chunk ^ (chunk >> 3 & 7)) * kChunk<T> + column % kChunk<T>;
}

// Element i of a chunk.
template <typename T>
__device__ __forceinline__ Bits<T> element_of(const uint4& chunk, int i) {
  const int at = i * static_cast<int>(sizeof(T));  // bytes
  const unsigned word = at < 8 ? (at < 4 ? chunk.x : chunk.y) : (at < 12 ? chunk.z : chunk.w);
  return static_cast<Bits<T>>(word >> (at % 4 * 8));
}

// A warp stores a channel: its first and its last 16 bytes by elements, as they may be shared with
// what lies beside them.
template <typename T>
__device__ __forceinline__ void store_planes(const GroupGemm& p, const Plane& plane,
                                             const Part& part, const uint4* stage) {
  constexpr int kAligned = kChunk<T>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll 1
  for (int channel = warp; channel < part.outs; channel += kWarps) {
    const int64_t first = first_element(p, plane, part.first_out + channel);
    const int skew = skew_of<T>(p, first), end = skew + plane.lines * p.output_extent[2];
    auto* const target = static_cast<Bits<T>*>(p.output) + first - skew;
    const uint4* const source = stage + channel * p.pitch / kAligned;
    const int last = (end - 1) / kAligned;
    auto* const chunks = reinterpret_cast<uint4*>(target);
#pragma unroll 4
    for (int at = lane + 1; at < last; at += 32) chunks[at] = source[at];
    if (lane < 2 * kAligned) {
      const int element = (lane < kAligned ? 0 : last * kAligned) + lane % kAligned;
      if (element >= skew && element < end && (lane < kAligned || last > 0)) {
        target[element] = reinterpret_cast<const Bits<T>*>(source)[element];
      }
    }
  }
}

// Neighbouring threads store the chunks of a position, and then the next position.
template <typename T>
__device__ __forceinline__ void store_rows(const GroupGemm& p, const Plane& plane, int first_part,
                                           const uint4* stage) {
  const int chunks = p.block_parts * kColumnChunks<T>;
  const int step = kThreads / chunks, first = threadIdx.x / chunks;
  const int own = threadIdx.x - first * chunks;
  const int own_part = own / kColumnChunks<T>, column = own % kColumnChunks<T> * kChunk<T>;
  if (first >= step || first_part + own_part >= p.parts) return;
  const Part part = find_part(p, first_part + own_part);
  const int positions = plane.lines * p.output_extent[2];
  const int64_t first_position = int64_t{plane.n} * p.output_volume + plane.first + first;
  auto* target =
      static_cast<Bits<T>*>(p.output) + first_position * p.out_channels + part.first_out + column;
  const int64_t target_step = int64_t{step} * p.out_channels;
#pragma unroll 4
  for (int at = first; at < positions; at += step, target += target_step) {
    const int chunk = at * chunks + own;
    const uint4 values = stage[chunk ^ (chunk >> 3 & 7)];
    if (p.whole_rows) {
      *reinterpret_cast<uint4*>(target) = values;
      continue;
    }
#pragma unroll
    for (int i = 0; i < kChunk<T>; ++i) {
      if (column + i < part.outs) target[i] = element_of<T>(values, i);
    }
  }
}

}  // namespace convt3d::cuda::group_gemm
