// SPDX-License-Identifier: BSD-3-Clause
// From sums to memory by way of a staging area in shared memory, which holds whole lines: a plane's
// lines lie side by side in the output too, so 16 bytes are stored at once from wherever they are
// aligned there, though a line may have an odd number of elements.
//
//   NCDHW  [channel][skew + position]   skew: elements between 16 bytes' alignment in memory and
//                                       the first position of this channel
//   NDHWC  [position][part][column]     chunks of 16 bytes; those of 128 bytes change places by
//                                       the number of the 128 bytes, for the banks' sake
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/group_gemm/params.cuh"

namespace convt3d::cuda::group_gemm {

constexpr int kAligned = 8;  // elements of 16 bytes

template <typename T>
__device__ __forceinline__ unsigned short bits_of(float value) {
  const T narrowed = narrow<T>(value);
  return *reinterpret_cast<const unsigned short*>(&narrowed);
}

// NCDHW: the first element of a plane's lines in a channel.
__device__ __forceinline__ int64_t first_element(const GroupGemm& p, const Box& box,
                                                 const Plane& plane, int channel) {
  return (int64_t{box.n} * p.out_channels + channel) * p.output_volume + plane.first;
}

__device__ __forceinline__ int skew_of(const GroupGemm& p, int64_t element) {
  return static_cast<int>((reinterpret_cast<uintptr_t>(p.output) / 2 + element) % kAligned);
}

// Where position `at` and column `column` of a part wait, in elements.
template <bool kPlanes>
__device__ __forceinline__ int staged_at(const GroupGemm& p, int at, int part, int column,
                                         int skew) {
  if constexpr (kPlanes) return column * p.pitch + skew + at;
  const int chunk = at * p.block_parts + part;
  return (chunk ^ (chunk >> 3 & 7)) * kChunk + column;
}

// The outputs of a cell, relative to the plane's first line; `there` says which are inside.
struct CellPlace {
  int position;
  bool there[2];
};

template <int kWidth>
__device__ __forceinline__ CellPlace place_cell(const GroupGemm& p, const Plane& plane, int cell,
                                                int residue_h, int block) {
  const int line = plane.first_line + (cell >> 16) * p.stride[1] + residue_h;
  const int w = (p.first_cell[2] + (cell & 0xffff)) * p.stride[2] + block * kWidth - p.padding[2];
  CellPlace place;
  place.position = (line - plane.top) * p.output_extent[2] + w;
  const bool hit = within(line, p.output_extent[1]);
#pragma unroll
  for (int r = 0; r < kWidth; ++r) place.there[r] = hit && within(w + r, p.output_extent[2]);
  return place;
}

template <typename T>
__device__ __forceinline__ void store_planes(const GroupGemm& p, const Box& box,
                                             const Plane& plane, const Part& part,
                                             const uint4* stage) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll 1
  for (int channel = warp; channel < part.outs; channel += kWarps) {
    const int64_t first = first_element(p, box, plane, part.first_out + channel);
    const int skew = skew_of(p, first), end = skew + plane.lines * p.output_extent[2];
    auto* const target = static_cast<unsigned short*>(p.output) + first - skew;
    const uint4* const source = stage + channel * p.pitch / kAligned;
#pragma unroll 2
    for (int at = lane; at * kAligned < end; at += 32) {
      const uint4 own = source[at];
      if (at * kAligned >= skew && (at + 1) * kAligned <= end) {
        reinterpret_cast<uint4*>(target)[at] = own;
        continue;
      }
      const unsigned words[4] = {own.x, own.y, own.z, own.w};
#pragma unroll
      for (int i = 0; i < kAligned; ++i) {
        const int element = at * kAligned + i;
        if (element >= skew && element < end) {
          target[element] = static_cast<unsigned short>(words[i / 2] >> (i % 2 * 16));
        }
      }
    }
  }
}

template <typename T>
__device__ __forceinline__ void store_rows(const GroupGemm& p, const Box& box, const Plane& plane,
                                           int first_part, const uint4* stage) {
  const int64_t first = int64_t{box.n} * p.output_volume + plane.first;
  auto* const target = static_cast<unsigned short*>(p.output) + first * p.out_channels;
  const int chunks = plane.lines * p.output_extent[2] * p.block_parts;
#pragma unroll 2
  for (int at = threadIdx.x; at < chunks; at += kThreads) {
    int position = at;
    const int own = divide(&position, p.by_block_parts);
    if (first_part + own >= p.parts) continue;
    const Part part = find_part(p, first_part + own);
    const uint4 values = stage[at ^ (at >> 3 & 7)];
    auto* const channels = target + int64_t{position} * p.out_channels + part.first_out;
    if (p.whole_rows) {
      *reinterpret_cast<uint4*>(channels) = values;
      continue;
    }
    const unsigned words[4] = {values.x, values.y, values.z, values.w};
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      if (i < part.outs) channels[i] = static_cast<unsigned short>(words[i / 2] >> (i % 2 * 16));
    }
  }
}

}  // namespace convt3d::cuda::group_gemm
