// SPDX-License-Identifier: BSD-3-Clause
// What a stage holds, and its copies by cp.async, which tables list (of 2 bytes: loads, stores).
//
//   columns  [in_channel][32 positions], 64 bytes, their 16-byte pieces swizzled as wgmma wants it
//   rows     [line of the block][lines of the box], as they come
//
// Every copy that is outside writes zeros.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/line_weight/params.h"
#include "cuda/line_weight/tile.h"
#include "cuda/line_weight/tuning.h"

namespace convt3d::cuda::line_weight {

// A copy of every tile: from where, in elements from the tile's first, and to where in a stage.
struct alignas(8) Slot {
  int offset, target;
};
// The copies of one tensor, and their coordinates: (d, h, w) from the highest bits on. So many that
// all lanes of a warp have equally many, in whole batches: the last is there several times.
struct Slots {
  Slot* slots;
  uint32_t* at;
  int copies, count;
};

__device__ __forceinline__ uint32_t coordinates(int d, int h, int w) {
  return static_cast<uint32_t>(((d << kBitsH) | h) << kBitsW | w);
}

// What a block does.
struct Job {
  int index, split, first_line, first_column, lines, columns, first_tile, end_tile;

  __device__ __forceinline__ Job(const Params& p, const Tile& tile, int block) {
    // Neighbours read the same positions, or are a cluster.
    index = p.clustered ? block / p.splits : block % p.jobs;
    split = p.clustered ? block % p.splits : block / p.jobs;
    const int line_tile = index / p.column_tiles;
    first_line = line_tile * tile.lines();
    first_column = (index - line_tile * p.column_tiles) * tile.columns;
    lines = min(p.lines - first_line, tile.lines());
    columns = min(p.in_channels - first_column, tile.columns);
    first_tile = static_cast<int>(int64_t{p.all_tiles} * split / p.splits);
    end_tile = static_cast<int>(int64_t{p.all_tiles} * (split + 1) / p.splits);
  }
};

// Division of small numbers, up to 2**21, in four instructions.
struct Divisor {
  float inverse;
  __device__ __forceinline__ explicit Divisor(int divisor) : inverse(1.0f / divisor) {}
  // The half keeps quotients away from whole numbers, further than their rounding.
  __device__ __forceinline__ int operator()(int number) const {
    return __float2int_rd((number + 0.5f) * inverse);
  }
};

// All threads. Neighbouring threads copy neighbouring pieces.
__device__ __forceinline__ void fill_output(const Params& p, const Job& job, int rows,
                                            const Slots& to) {
  const int taps = p.kernel[0] * p.kernel[1], pieces = p.output.pieces;
  const Divisor row_of(p.row_pieces), line_of(pieces), tap_d_of(p.kernel[1]);
  const Divisor channel_of(taps), box_d_of(p.box[1]);
  const int first_channel = job.first_line / taps, first_tap = job.first_line % taps;
  for (int i = threadIdx.x; i < to.count; i += kThreads) {
    const int copy = min(i, to.copies - 1);
    const int row = row_of(copy), piece = copy - row * p.row_pieces;
    const int line = line_of(piece), w = (piece - line * pieces) * p.output.piece;
    const int next_channel = channel_of(first_tap + row);
    const int channel = first_channel + next_channel, tap = first_tap + row - next_channel * taps;
    const int tap_d = tap_d_of(tap), box_d = box_d_of(line);
    const int d = tap_d * p.dilation[0] + box_d * p.stride[0];
    const int h =
        (tap - tap_d * p.kernel[1]) * p.dilation[1] + (line - box_d * p.box[1]) * p.stride[1];
    to.slots[i] = {
        channel * p.output.stride[0] + d * p.output.stride[1] + h * p.output.stride[2] + w,
        rows + row * p.row_bytes + 2 * (line * p.output_pitch + w)};
    to.at[i] = coordinates(d, h, w);
  }
}

__device__ __forceinline__ void fill_input(const Params& p, const Slots& to) {
  const int pieces = p.input.pieces;
  const Divisor column_of(p.column_pieces), line_of(pieces), d_of(p.box[1]);
  for (int i = threadIdx.x; i < to.count; i += kThreads) {
    const int copy = min(i, to.copies - 1);
    const int column = column_of(copy), piece = copy - column * p.column_pieces;
    const int line = line_of(piece), w = (piece - line * pieces) * p.input.piece;
    const int d = d_of(line), h = line - d * p.box[1];
    const int bytes = 2 * (line * p.input_pitch + w);
    to.slots[i] = {column * p.input.stride[0] + d * p.input.stride[1] + h * p.input.stride[2] + w,
                   column * kColumnBytes + (bytes ^ (column >> 1 & 3) << 4)};
    to.at[i] = coordinates(d, h, w);
  }
}

// The first element of a tile, and its coordinates.
struct Origin {
  const unsigned short* data;
  int at[3];

  __device__ __forceinline__ bool has_line(const Source& source, uint32_t place) const {
    const int h = place >> kBitsW & ((1 << kBitsH) - 1), d = place >> (kBitsW + kBitsH);
    return static_cast<unsigned>(at[0] + d) < static_cast<unsigned>(source.extent[0]) &&
           static_cast<unsigned>(at[1] + h) < static_cast<unsigned>(source.extent[1]);
  }
  __device__ __forceinline__ bool has(const Source& source, uint32_t place) const {
    const int w = place & ((1 << kBitsW) - 1);
    return has_line(source, place) &&
           static_cast<unsigned>(at[2] + w) < static_cast<unsigned>(source.extent[2]);
  }
  __device__ __forceinline__ bool is_inside(const Source& source) const {
    bool inside = true;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      inside = inside && at[axis] >= 0 && at[axis] + source.span[axis] <= source.extent[axis];
    }
    return inside;
  }
};

// By one warp. kInside: all of the tile lies in the tensor.
template <int kElements, bool kInside>
__device__ __forceinline__ void load(const Slots& all, const Source& source, const Origin& origin,
                                     uint32_t stage) {
  constexpr int kBatch = batch_of(kElements);  // tables are read at once, so that latencies overlap
  const unsigned short* data = origin.data;
  asm volatile("" : "+l"(data));  // one addition for each address
#pragma unroll 1
  for (int i = threadIdx.x % 32; i < all.count; i += 32 * kBatch) {
    Slot slot[kBatch];
    bool inside[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      slot[b] = all.slots[i + 32 * b];
      inside[b] = kInside || origin.has(source, all.at[i + 32 * b]);
    }
    if constexpr (kElements > 1) {
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        copy_async<2 * kElements>(stage + slot[b].target, data + slot[b].offset,
                                  inside[b] ? 2 * kElements : 0);
      }
    } else {
      unsigned short value[kBatch];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) value[b] = inside[b] ? data[slot[b].offset] : 0;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        asm volatile("st.shared.b16 [%0], %1;" ::"r"(stage + slot[b].target), "h"(value[b]));
      }
    }
  }
}

template <int kElements>
__device__ __forceinline__ void load(const Slots& all, const Source& source, const Origin& origin,
                                     uint32_t stage) {
  if (kElements > 1 && origin.is_inside(source)) {
    load<kElements, true>(all, source, origin, stage);
  } else {
    load<kElements, false>(all, source, origin, stage);
  }
}

__device__ __forceinline__ void load(const Slots& all, const Source& source, const Origin& origin,
                                     uint32_t stage) {
  switch (source.piece) {
    case 8:
      return load<8>(all, source, origin, stage);
    case 4:
      return load<4>(all, source, origin, stage);
    case 2:
      return load<2>(all, source, origin, stage);
    default:
      return load<1>(all, source, origin, stage);
  }
}

// Goes from tile to tile.
struct Walk {
  int at[4];  // n, d, h, w

  __device__ __forceinline__ Walk(const Params& p, int tile) {
#pragma unroll
    for (int axis = 3; axis >= 0; --axis) {
      const int before = tile / p.tiles[axis];
      at[axis] = tile - before * p.tiles[axis];
      tile = before;
    }
  }
  __device__ __forceinline__ void next(const Params& p) {
#pragma unroll
    for (int axis = 3; axis >= 0; --axis) {
      if (++at[axis] < p.tiles[axis] || axis == 0) return;
      at[axis] = 0;
    }
  }
};

}  // namespace convt3d::cuda::line_weight
