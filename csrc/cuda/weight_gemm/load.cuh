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
  int64_t first;  // the block's first channel at the tensor's first position
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
  const int step = kLoadWarps * warp_rows;
  const int limit = min(origin.channels, side.tile_channels);
  if (side.whole_pieces) {
    // Rows that a thread describes at once, so that their latencies overlap.
    constexpr int kBatch = 4;
    const int left = limit - first_piece * kElements;
    const int piece_bytes = max(0, min(left, kElements)) * static_cast<int>(sizeof(Bits));
    const int64_t first = origin.offset + first_piece * kElements;
#pragma unroll 1
    for (int q = warp * warp_rows + lane_row; q < side.rows; q += kBatch * step) {
      Row row[kBatch];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) row[b] = rows[min(q + b * step, side.rows - 1)];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int bytes = is_inside(side, origin, row[b]) ? piece_bytes : 0;
        const Bits* from = data + (bytes > 0 ? first + row[b].offset : 0);
        // The last row may be copied again: the same bytes.
        copy_async<16>(target + row[b].place * side.pitch + first_piece * 16, from, bytes);
      }
    }
    return;
  }
  // Pieces that a thread has in flight: 32 loads. They all take place, so that none waits for the
  // condition of another: rows outside and channels behind the last read an element that is there.
  constexpr int kFlight = 32 / kElements;
  const int64_t channel_stride = side.stride[1];
#pragma unroll 1
  for (int q = warp * warp_rows + lane_row; q < side.rows; q += step) {
    const Row row = rows[q];
    const bool inside = is_inside(side, origin, row);
    const Bits* from = data + (inside ? origin.offset + row.offset : origin.first);
    const uint32_t to = target + row.place * side.pitch;
#pragma unroll 1
    for (int piece = first_piece; piece < pieces; piece += kFlight * side.lanes) {
      Bits bits[kFlight][kElements];
#pragma unroll
      for (int f = 0; f < kFlight; ++f) {
        const int channel = (piece + f * side.lanes) * kElements;
        const Bits* element = from + min(channel, limit - 1) * channel_stride;
#pragma unroll
        for (int e = 0; e < kElements; ++e) {
          bits[f][e] = *element;
          if (channel + e + 1 < limit) element += channel_stride;
        }
      }
#pragma unroll
      for (int f = 0; f < kFlight; ++f) {
        const int at = piece + f * side.lanes;
#pragma unroll
        for (int e = 0; e < kElements; ++e) {
          if (!inside || at * kElements + e >= limit) bits[f][e] = 0;
        }
        if (at < pieces) store_shared(to + at * 16, pack<Bits>(bits[f]));
      }
    }
  }
}

}  // namespace convt3d::cuda::weight_gemm
