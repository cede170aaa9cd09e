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
#include <algorithm>
#include <cstdint>

#include "cuda/common/axes.h"
#include "cuda/common/chunk.h"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/few_channels/matrix_config.h"
#include "cuda/few_channels/problem.cuh"
#include "cuda/few_channels/vector.cuh"

namespace convt3d::cuda::few_channels {

#if defined(__CUDA_ARCH__)
constexpr int kArch = __CUDA_ARCH__ / 10;
#else
constexpr int kArch = 90;
#endif

// Threads along the units of a line, and on as many lines as the others fill. Each keeps its place
// on the line, so that all that depends on it is found once a box, and steps from line to line.
struct Spread {
  Divisor by_side;             // threads side by side
  int lines;                   // taken at once
  int step[2];                 // the same as planes and lines
  int64_t bytes, plane_bytes;  // of a step, and more where it goes to the next plane
};

inline Spread make_spread(int64_t units, int64_t lines_of_plane, const int64_t (&bytes)[5],
                          int64_t threads = kMatrixThreads) {
  const int64_t side = std::min(units, threads), lines = threads / side;
  const int64_t planes = lines / lines_of_plane, rest = lines % lines_of_plane;
  return {make_divisor(side),
          static_cast<int>(lines),
          {static_cast<int>(planes), static_cast<int>(rest)},
          planes * bytes[2] + rest * bytes[3],
          bytes[2] - lines_of_plane * bytes[3]};
}

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
  int taps, pairs;        // pairs of taps
  int tap_slices;         // grad_weight: warps side by side on the pairs
  int boxes, splits;      // boxes of positions, in all; blocks that share them
  int buffers;            // grad_input: as in config.h
  int block_groups;       // 1 or 2, of one chunk each
  int march_pairs, side;  // grad_input by planes: as in config.h; columns that threads have at once
  int together;           // chunks of grad_output that are staged at once: 1 or 2
  int64_t weights;
  Divisor by_tile[3], by_boxes[3], by_halo[3], by_kernel[3], by_stride_w;
  Divisor by_in_tiles, by_out_chunks;
  Divisor by_across;               // grad_input by planes: threads of a place
  bool long_inputs, long_outputs;  // one load brings a chunk
  bool quad_inputs, quad_outputs;  // four positions of a channel are loaded at once
  int halo_units, tile_units;      // of a line: such quads, or chunks
  Spread halo_spread, tile_spread;
};

// The first position of a box.
struct Box {
  int n, first[3];
};

// A line of a part of a tensor that begins at first[], and the bytes before it.
struct Line {
  int d, h, number;
  int64_t bytes;
};

// body(unit, line) for each unit that is this thread's, and the first of its lines.
template <typename Body>
__device__ __forceinline__ void for_units(const Spread& spread, int units, const Divisor& by_plane,
                                          const int64_t (&bytes)[5], const Body& body) {
  int index = threadIdx.x;
  int unit = divide(&index, spread.by_side);
  if (index >= spread.lines) return;
  int d = index;
  const int h = divide(&d, by_plane);
  const Line line{d, h, index, d * bytes[2] + h * bytes[3]};
#pragma unroll 1
  for (; unit < units; unit += kMatrixThreads) body(unit, line);
}

__device__ __forceinline__ void step_line(const Spread& spread, int lines_of_plane, Line* line) {
  line->number += spread.lines;
  line->d += spread.step[0];
  line->h += spread.step[1];
  line->bytes += spread.bytes;
  if (line->h >= lines_of_plane) {
    line->h -= lines_of_plane;
    ++line->d;
    line->bytes += spread.plane_bytes;
  }
}

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

// One chunk to shared memory, element by element, zeros where not `there`.
template <typename T>
__device__ __forceinline__ void stage_chunk(uint4* target, const char* source, bool there,
                                            int64_t channel_bytes, int channels) {
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

// 16 bits: four positions on w of eight channels, positions side by side in memory, turned into
// chunks. A line may start on any element: words that hold one of it are loaded, and shifted into
// place. What follows from the coordinate on w alone, as bits: those of the four positions that are
// inside, and from kHeldEven and kHeldOdd on words that hold one of these, where the line starts on
// an even or an odd element.
constexpr int kHeldEven = 4, kHeldOdd = 6;

__device__ __forceinline__ unsigned find_quad(int w, int extent) {
  unsigned bits = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) bits |= within(w + i, extent) ? 1u << i : 0;
#pragma unroll
  for (int odd = 0; odd < 2; ++odd) {
#pragma unroll
    for (int i = 0; i < 2 + odd; ++i) {
      const bool held = within(w + 2 * i - odd + 1, extent + 1);
      bits |= held ? 1u << ((odd != 0 ? kHeldOdd : kHeldEven) + i) : 0;
    }
  }
  return bits;
}

// `corner` is the first position of the line, `bits` of find_quad, none where the line is outside;
// kWhole: there are eight channels. store(i, chunk) takes position i.
template <bool kWhole, typename Store>
__device__ __forceinline__ void stage_quad(const char* corner, unsigned bits, int64_t channel_bytes,
                                           int channels, const Store& store) {
  // Channels of the same parity start alike.
  int shift[2];
  unsigned held[2], mask[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool odd = reinterpret_cast<uintptr_t>(corner + i * channel_bytes) / 2 % 2 != 0;
    shift[i] = odd ? 16 : 0;
    held[i] = odd ? bits >> kHeldOdd : bits >> kHeldEven & 3;
    mask[i] = (bits >> 2 * i & 1) * 0xffffu | (bits >> (2 * i + 1) & 1) * 0xffff0000u;
  }
  unsigned two[2][kChunk];
#pragma unroll
  for (int c = 0; c < kChunk; ++c) {
    const auto* const words =
        reinterpret_cast<const unsigned*>(corner + c * channel_bytes - shift[c % 2] / 8);
    unsigned word[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const bool holds = (held[c % 2] >> i & 1) != 0;
      word[i] = holds && (kWhole || c < channels) ? words[i] : 0u;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      two[i][c] = __funnelshift_r(word[i], word[i + 1], shift[c % 2]) & mask[i];
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

// The chunk of the halo's line 0 where its column `w` lies.
__device__ __forceinline__ int chunk_of_column(const MatrixSums& p, int w) {
  const int residue = divide(&w, p.by_stride_w);
  return residue * p.columns + w;
}

// grad_output around a box, `channels` from `first_out` of the tensor on: p.together chunks a
// place, `chunk_step` chunks apart in shared memory, neighbouring places `place_step`; kUnroll
// chunks in flight. kQuads: whether there are registers for stage_quad.
template <typename T, int kUnroll, bool kQuads>
__device__ __forceinline__ void stage_output(const MatrixSums& p, const Box& box, int first_out,
                                             int channels, int chunk_step, int place_step,
                                             uint4* halo) {
  const char* source = static_cast<const char*>(p.output) + box.n * p.output_bytes[0] +
                       first_out * p.output_bytes[1];
  int first[3];
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    first[axis] = box.first[axis] * p.stride[axis] - p.padding[axis];
    if (axis < 2) source += first[axis] * p.output_bytes[2 + axis];
  }
  const int lines = p.halo[0] * p.halo[1], line_chunks = p.stride[2] * p.columns;
  const auto is_inside = [&](const Line& line) {
    return within(first[0] + line.d, p.output_extent[0]) &&
           within(first[1] + line.h, p.output_extent[1]);
  };
  const auto step = [&](Line* line) { step_line(p.halo_spread, p.halo[1], line); };
  const auto body = [&](int unit, Line line) {
    if (sizeof(T) == 2 && kQuads && p.quad_outputs) {
      const int w = first[2] + unit * 4;
      const unsigned bits = find_quad(w, p.output_extent[2]);
      const char* const column = source + int64_t{w} * 2;
      unsigned target[2];  // two chunks each
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        target[i] = chunk_of_column(p, unit * 4 + 2 * i) | chunk_of_column(p, unit * 4 + 2 * i + 1)
                                                               << 16;
      }
      const int places = p.halo[2] - unit * 4;
#pragma unroll 1
      for (; line.number < lines; step(&line)) {
        const auto store = [&](int i, const uint4& chunk) {
          if (i < places) {
            halo[(target[i / 2] >> i % 2 * 16 & 0xffff) + line.number * line_chunks] = chunk;
          }
        };
        const unsigned own = is_inside(line) ? bits : 0;
        if (channels >= kChunk) {
          stage_quad<true>(column + line.bytes, own, p.output_bytes[1], channels, store);
        } else {
          stage_quad<false>(column + line.bytes, own, p.output_bytes[1], channels, store);
        }
      }
      return;
    }
    const int own_w = p.together == 2 ? unit / 2 : unit;
    const int chunk = p.together == 2 ? unit % 2 : 0;
    const int channel = chunk * chunk_of(sizeof(T)), w = first[2] + own_w;
    const bool there = within(w, p.output_extent[2]) && channel < channels;
    const char* const column = source + w * p.output_bytes[4] + channel * p.output_bytes[1];
    uint4* const target = halo + chunk_of_column(p, own_w) * place_step + chunk * chunk_step;
    if (p.long_outputs) {
#pragma unroll 4
      for (; line.number < lines; step(&line)) {
        copy_async<16>(shared_address(target + line.number * line_chunks * place_step),
                       column + line.bytes, there && is_inside(line) ? 16 : 0);
      }
      return;
    }
    if (sizeof(T) == 2 && p.outs <= kNarrowChunk) {
      // One or two loads a place: more places in flight.
#pragma unroll 4
      for (; line.number < lines; step(&line)) {
        const auto narrow = load_elements<kNarrowChunk, T>(
            column + line.bytes, there && is_inside(line), p.output_bytes[1], channels, false);
        target[line.number * line_chunks] = make_uint4(narrow.bits.value[0], 0, 0, 0);
      }
      return;
    }
#pragma unroll kUnroll
    for (; line.number < lines; step(&line)) {
      stage_chunk<T>(target + line.number * line_chunks * place_step, column + line.bytes,
                     there && is_inside(line), p.output_bytes[1], channels - channel);
    }
  };
  for_units(p.halo_spread, p.halo_units, p.by_halo[1], p.output_bytes, body);
}

}  // namespace convt3d::cuda::few_channels
