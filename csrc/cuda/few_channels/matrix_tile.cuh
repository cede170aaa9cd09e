// SPDX-License-Identifier: BSD-3-Clause
// Gradients on the tensor cores: what both kernels share. Channels are taken in *chunks* of 16
// bytes, zeros behind the last; a block has a box of positions i and the part of grad_output that
// its taps read, all in shared memory, a chunk for each place:
//
//   positions   tile[0] x tile[1] x tile[2]
//   grad_output halo[0] x halo[1] x halo[2],  halo = s * (tile - 1) + d * (kernel - 1) + 1
//
// Columns of grad_output lie by their residue modulo the stride on w, so that eight neighbouring
// positions read eight neighbouring chunks for any tap (no bank is hit twice):
//
//   chunk(od, oh, ow) = ((od * halo[1] + oh) * s + ow % s) * columns + ow / s
//
// That is linear: chunk = base(position) + offset(tap).
#pragma once
#include <cstdint>

#include "cuda/common/axes.h"
#include "cuda/common/chunk.h"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/few_channels/matrix_config.h"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/vector.cuh"

namespace convt3d::cuda::few_channels {

struct MatrixSums : Axes {
  const void* input;   // grad_weight
  const void* output;  // grad_output
  const void* weight;  // grad_input
  void* result;        // grad_input
  float* parts;        // grad_weight: [split][in_channels][out_channels / groups][taps]
  int64_t input_stride[5], output_bytes[5], input_bytes[5], weight_stride[5];
  int ins, outs;             // channels of a group
  int in_tiles, out_chunks;  // of a group: blocks of kBlocks chunks; chunks
  int tile[3], halo[3];
  int columns;
  int taps, pairs;    // pairs of taps
  int tap_slices;     // grad_weight: warps side by side on the pairs
  int boxes, splits;  // boxes of positions, in all; blocks that share them
  int buffers;        // grad_input: as in config.h
  int64_t weights;
  Divisor by_tile[3], by_boxes[3], by_halo[3], by_kernel[3], by_stride_w;
  Divisor by_in_tiles, by_out_chunks;
  bool long_inputs, long_outputs;  // one load brings a chunk
  bool quad_inputs, quad_outputs;  // four positions of a channel are loaded at once
  int halo_quads, tile_quads;      // loads of a line
  Divisor by_halo_quads, by_tile_quads;
};

// The first position of a box.
struct Box {
  int n, first[3];
};

__device__ __forceinline__ Box find_box(const MatrixSums& p, int index) {
  Box box;
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    box.first[axis] = divide(&index, p.by_boxes[axis]) * p.tile[axis];
  }
  box.n = index;
  return box;
}

// base(position) of a position of the box.
__device__ __forceinline__ int chunk_of_position(const MatrixSums& p, int position) {
  const int w = divide(&position, p.by_tile[2]), h = divide(&position, p.by_tile[1]);
  return (position * p.stride[0] * p.halo[1] + h * p.stride[1]) * p.stride[2] * p.columns + w;
}

// offset(tap); pairs of taps are complete: the last tap stands in for one that is not there.
__device__ __forceinline__ int chunk_of_tap(const MatrixSums& p, int tap) {
  int rest = min(tap, p.taps - 1);
  const int w = divide(&rest, p.by_kernel[2]) * p.dilation[2];
  const int h = divide(&rest, p.by_kernel[1]) * p.dilation[1];
  int column = w;
  const int residue = divide(&column, p.by_stride_w);
  return ((rest * p.dilation[0] * p.halo[1] + h) * p.stride[2] + residue) * p.columns + column;
}

// One chunk to shared memory, zeros where not `there`.
template <typename T>
__device__ __forceinline__ void stage_chunk(uint4* target, const char* source, bool there,
                                            int64_t channel_bytes, int channels, bool whole) {
  if (whole) {
    copy_async<16>(shared_address(target), source, there ? 16 : 0);
    return;
  }
  constexpr int kElements = chunk_of(sizeof(T));
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < kElements; ++i, source += channel_bytes) {
      copy_async<4>(shared_address(target) + 4 * i, source, there && i < channels ? 4 : 0);
    }
  } else {
    const auto chunk = load_elements<kElements, T>(source, there, channel_bytes, channels, false);
    *target = make_uint4(chunk.bits.value[0], chunk.bits.value[1], chunk.bits.value[2],
                         chunk.bits.value[3]);
  }
}

// Where a place of the halo lies in shared memory and in grad_output, and whether it is inside.
struct HaloPlace {
  int target;
  int64_t source;  // bytes
  bool there;
};

__device__ __forceinline__ HaloPlace find_halo(const MatrixSums& p, const int (&first)[3], int at) {
  int rest = at;
  const int own_w = divide(&rest, p.by_halo[2]);
  const int line = rest, own_h = divide(&rest, p.by_halo[1]);
  const int d = first[0] + rest, h = first[1] + own_h, w = first[2] + own_w;
  int column = own_w;
  const int residue = divide(&column, p.by_stride_w);
  return {(line * p.stride[2] + residue) * p.columns + column,
          d * p.output_bytes[2] + h * p.output_bytes[3] + w * p.output_bytes[4],
          within(d, p.output_extent[0]) && within(h, p.output_extent[1]) &&
              within(w, p.output_extent[2])};
}

// 16 bits: four positions on w of eight channels, positions side by side in memory, turned into
// chunks. A line may start on any element: words that hold one of it are loaded, and shifted into
// place. `corner` is the first position of the line, `w` its coordinate, `inside` whether the line
// is in the tensor; store(i, chunk) takes position i.
template <typename Store>
__device__ __forceinline__ void stage_quad(const char* corner, bool inside, int w, int extent,
                                           int64_t channel_bytes, int channels,
                                           const Store& store) {
  unsigned mask[2] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) mask[i / 2] |= within(w + i, extent) ? 0xffffu << (i % 2 * 16) : 0;
  unsigned two[2][kChunk];
#pragma unroll
  for (int c = 0; c < kChunk; ++c) {
    const char* const own = corner + c * channel_bytes;
    const int odd = static_cast<int>(reinterpret_cast<uintptr_t>(own) / 2 % 2);
    const auto* const words = reinterpret_cast<const unsigned*>(own - 2 * odd);
    unsigned word[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const bool holds = within(w + 2 * i - odd + 1, extent + 1) && (i < 2 || odd != 0);
      word[i] = inside && c < channels && holds ? words[i] : 0u;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      two[i][c] = __funnelshift_r(word[i], word[i + 1], odd * 16) & mask[i];
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const unsigned halves = i % 2 == 0 ? 0x5410 : 0x7632;
    const unsigned(&own)[kChunk] = two[i / 2];
    store(i, make_uint4(__byte_perm(own[0], own[1], halves), __byte_perm(own[2], own[3], halves),
                        __byte_perm(own[4], own[5], halves), __byte_perm(own[6], own[7], halves)));
  }
}

// grad_output around a box, channels from `first_out` of the tensor on, kChunks chunks a place;
// kUnroll chunks in flight. kQuads: whether there are registers for stage_quad.
template <typename T, int kChunks, int kUnroll, bool kQuads>
__device__ __forceinline__ void stage_output(const MatrixSums& p, const Box& box, int first_out,
                                             int channels, uint4* halo) {
  const char* const source = static_cast<const char*>(p.output) + box.n * p.output_bytes[0] +
                             first_out * p.output_bytes[1];
  int first[3];
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    first[axis] = box.first[axis] * p.stride[axis] - p.padding[axis];
  }
  if (sizeof(T) == 2 && kQuads && p.quad_outputs) {
    const int quads = p.halo[0] * p.halo[1] * p.halo_quads;
#pragma unroll 1
    for (int at = threadIdx.x; at < quads; at += kMatrixThreads) {
      int rest = at;
      const int own_w = divide(&rest, p.by_halo_quads) * 4;
      const int line = rest, own_h = divide(&rest, p.by_halo[1]);
      const int d = first[0] + rest, h = first[1] + own_h, w = first[2] + own_w;
      const bool inside = within(d, p.output_extent[0]) && within(h, p.output_extent[1]);
      const auto store = [&](int i, const uint4& chunk) {
        int column = own_w + i;
        if (column >= p.halo[2]) return;
        const int residue = divide(&column, p.by_stride_w);
        halo[(line * p.stride[2] + residue) * p.columns + column] = chunk;
      };
      stage_quad(source + d * p.output_bytes[2] + h * p.output_bytes[3] + int64_t{w} * 2, inside, w,
                 p.output_extent[2], p.output_bytes[1], channels, store);
    }
    return;
  }
  const int count = p.halo[0] * p.halo[1] * p.halo[2];
  if (sizeof(T) == 2 && p.outs <= kNarrowChunk) {
    // One or two loads a place: more places in flight.
#pragma unroll 4
    for (int at = threadIdx.x; at < count; at += kMatrixThreads) {
      const HaloPlace place = find_halo(p, first, at);
      const auto own = load_elements<kNarrowChunk, T>(source + place.source, place.there,
                                                      p.output_bytes[1], channels, false);
      halo[place.target] = make_uint4(own.bits.value[0], 0, 0, 0);
    }
    return;
  }
#pragma unroll kUnroll
  for (int at = threadIdx.x; at < count * kChunks; at += kMatrixThreads) {
    const HaloPlace place = find_halo(p, first, at / kChunks);
    const int chunk = at % kChunks, channel = chunk * chunk_of(sizeof(T));
    stage_chunk<T>(
        halo + place.target * kChunks + chunk, source + place.source + channel * p.output_bytes[1],
        place.there && channel < channels, p.output_bytes[1], channels - channel, p.long_outputs);
  }
}

}  // namespace convt3d::cuda::few_channels
