// SPDX-License-Identifier: BSD-3-Clause
// Rows of channels into shared memory, from either layout: 16-byte copies where channels are
// contiguous and aligned, else element by element, eight or four channels of a position to a store.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/weight_gemm/params.h"
#include "cuda/weight_gemm/tile.h"
#include "cuda/weight_gemm/tuning.h"

namespace convt3d::cuda::weight_gemm {

// Where a tile of one side lies: its first row's coordinates and element, images and channels left.
struct Origin {
  int at[3];
  int images, channels;
  int64_t offset;
};

__device__ __forceinline__ bool is_inside(const Side& side, const Origin& origin, const Row& row) {
  bool inside = row.image < min(origin.images, static_cast<int>(kNoImage));
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    const int local = row.at >> kCoordinateBits * (2 - axis) & kMaxLocal;
    inside = inside && static_cast<unsigned>(origin.at[axis] + side.step[axis] * local) <
                           static_cast<unsigned>(side.extent[axis]);
  }
  return inside;
}

// Elements of a 16-byte piece as they lie there; `bits` are theirs.
template <typename Bits>
__device__ __forceinline__ uint4 pack(const Bits (&bits)[16 / sizeof(Bits)]) {
  if constexpr (sizeof(Bits) == 4) {
    return make_uint4(bits[0], bits[1], bits[2], bits[3]);
  } else {
    return make_uint4(bits[0] | uint32_t{bits[1]} << 16, bits[2] | uint32_t{bits[3]} << 16,
                      bits[4] | uint32_t{bits[5]} << 16, bits[6] | uint32_t{bits[7]} << 16);
  }
}

// All rows of one side of a tile, by the kLoadWarps warps; `warp` counts among these.
template <typename Bits>
__device__ __forceinline__ void load_rows(const Side& side, const Row* rows, const Origin& origin,
                                          uint32_t target, int warp, int lane) {
  constexpr int kElements = 16 / sizeof(Bits);
  const int pieces = side.tile_channels / kElements;
  const int warp_rows = 32 / side.lanes, lane_row = lane / side.lanes;
  const int first_piece = lane - lane_row * side.lanes;
  if (lane_row >= warp_rows) return;
  const Bits* data = static_cast<const Bits*>(side.data);
  if (side.whole_pieces) {
#pragma unroll 4
    for (int q = warp * warp_rows + lane_row; q < side.rows; q += kLoadWarps * warp_rows) {
      const Row row = rows[q];
      const bool inside = is_inside(side, origin, row);
      const int left = inside ? origin.channels - first_piece * kElements : 0;
      const int bytes = max(0, min(left, kElements)) * static_cast<int>(sizeof(Bits));
      const Bits* from = data;
      if (bytes > 0) from += origin.offset + row.offset + first_piece * kElements;
      copy_async<16>(target + row.place * side.pitch + first_piece * 16, from, bytes);
    }
    return;
  }
  // Pieces that a thread has in flight: 32 loads.
  constexpr int kFlight = 32 / kElements;
  const int64_t channel_stride = side.stride[1];
#pragma unroll 1
  for (int q = warp * warp_rows + lane_row; q < side.rows; q += kLoadWarps * warp_rows) {
    const Row row = rows[q];
    const bool inside = is_inside(side, origin, row);
    const Bits* from = data + (inside ? origin.offset + row.offset : 0);
    const uint32_t to = target + row.place * side.pitch;
#pragma unroll 1
    for (int piece = first_piece; piece < pieces; piece += kFlight * side.lanes) {
      Bits bits[kFlight][kElements];
#pragma unroll
      for (int f = 0; f < kFlight; ++f) {
#pragma unroll
        for (int e = 0; e < kElements; ++e) {
          const int channel = (piece + f * side.lanes) * kElements + e;
          const bool there = inside && channel < origin.channels && channel < side.tile_channels;
          bits[f][e] = there ? from[channel * channel_stride] : Bits{0};
        }
      }
#pragma unroll
      for (int f = 0; f < kFlight; ++f) {
        const int at = piece + f * side.lanes;
        if (at < pieces) store_shared(to + at * 16, pack<Bits>(bits[f]));
      }
    }
  }
}

}  // namespace convt3d::cuda::weight_gemm
