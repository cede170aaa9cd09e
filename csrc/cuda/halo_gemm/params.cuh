// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is given, and what a unit of work is; who does which of them: walk.cuh.
#pragma once
#include <cstdint>

#include "cuda/halo_gemm/tuning.h"
#include "cuda/sm90/joined_sums.cuh"
#include "cuda/sm90/parked_sums.cuh"

namespace convt3d::cuda::halo_gemm {

// How a weight lies in memory, on 16 bytes: dense in the order of its dimensions, or with its
// second dimension last; or anyhow.
enum class WeightOrder { taps_last, channels_last, strided };

// product.h, of one axis; and the taps of the residues before it.
struct Residue {
  int first_output, num_outputs, first_tap, num_taps, first_input, taps_before, input_offset;
};

struct Axis {
  Residue residue[kMaxStride];
  int residues, stride, dilation, input_step, tap_step, kernel, input, input_stride;
  int first_residue;  // in the numbering of taps, of those here
  // Of all residues: the first input that position 0 reads, and how many from there to the last.
  int halo_first, halo_span;
};

// Where a block's part of shared items begins: the item, and planes and chunks of its sum.
struct LineStart {
  unsigned short item, plane;
};

struct Params {
  const unsigned char* packed;  // see weight_pack.cuh
  const void* bias;             // may be null
  void* output;
  int64_t bias_stride;
  int64_t output_stride[5];
  Axis axis[3];
  int batch, in_channels, out_channels;
  // Config
  int sum_residues;  // that one sum goes through: all in grad_input, else one
  bool reversed;     // grad_input: the product's taps are the weight's from the last on
  int fused, warpgroups, steps, chunks, chunk_channels, column_tiles;
  int strip, pitch, lines, planes, strips, tiles;
  int box_lines;                  // of the larger boxes of input
  int stage_bytes, weight_bytes;  // of a stage of input, of all stages of weights
  int input_stages, weight_stages, weight_group;
  int line_bytes;    // of a warp's buffer for lines, 0 where there are none
  bool line_pairs;   // all lines start at even elements (lines.cuh)
  bool line_pieces;  // and 16 bytes of both residues of w at positions where a lane begins
  bool stretches;    // of lines are stored (fused_lines.cuh)
  bool resident;
  bool packed_input;   // by an earlier launch
  bool weight_rows;    // blocks are swizzled rows: weight_pack.cuh
  bool weight_as_is;   // and TMA brings them from the weight itself: weight_boxes.h
  int tile_runs;       // of a column tile
  int parking_chunks;  // after so many the sums are parked; 0: never
  sm90::Parking parking;
  // Marching: input planes from the first that finishes an output plane on; output planes, padding.
  int first_plane, marching_steps, outputs, padding;
  // Marching: segments of a march, whether each is one block's, the planes of the longest, and the
  // cost of one with all residues of a tile and its column tiles.
  int segments;
  bool whole_segments;
  int segment_planes, segment_cost;
  unsigned items;                     // not marching
  int batch_rows;                     // batch_kernel.cuh
  int first_tile;                     // not marching: those that reach most planes come first
  unsigned char order[kMaxResidues];  // of residues, most taps first
  // Items that are shared (walk.cuh).
  sm90::Joining joining;
  int residue_items;                         // items of a residue
  unsigned short item_planes[kMaxResidues];  // of an item's sum, in the order of residues
  LineStart starts[kMaxSharingBlocks + 1];   // of each block; behind the last all items
};

// What a block has of a shared item: planes and chunks of its sum, and who has the rest. Of the
// last one `item` is -1.
struct SharedUnit {
  int item, begin, end;
  sm90::Part part;
};
static_assert(sizeof(SharedUnit) == kSharedUnitBytes);

// One residue of one tile, or all of w where they are fused: residue[2] is the first then.
struct Unit {
  int column_tile, strip, first;  // position
  int residue[3];
  // Marching: input planes that finish an output plane. Of a shared item: planes and chunks of its
  // sum, counted from the next tap of d.
  int begin, end;
  int from_plane, to_plane;  // not marching: that it has positions in; all of several batch items
  int slot = 0;              // of a pair of output planes
  bool loads;                // whether it reads any input
  int halo_w;                // of position 0: the first input of w that its taps read
  int shift;                 // rows from the first to the last that a row's taps read

  __host__ __device__ void set(const Params& p, int d, int h, int w) {
    residue[0] = d;
    residue[1] = h;
    residue[2] = w;
    const Residue &of_h = axis(p, 1), &of_w = axis(p, 2);
    loads = of_h.num_taps > 0 && (p.fused > 1 || of_w.num_taps > 0);
    const int span_w = max(of_w.num_taps - 1, 0) * p.axis[2].input_step;
    halo_w = p.fused > 1 ? p.axis[2].halo_first : of_w.first_input - span_w;
    shift = max(of_h.num_taps - 1, 0) * p.axis[1].input_step * p.pitch +
            (p.fused > 1 ? p.axis[2].halo_span : span_w);
  }
  // The next residue of a sum.
  __host__ __device__ void next(const Params& p) {
    int d = residue[0], h = residue[1], w = residue[2] + 1;
    if (w == p.axis[2].residues) w = 0, ++h;
    if (h == p.axis[1].residues) h = 0, ++d;
    set(p, d, h, w);
  }
  // Calls `each(tap of d, first chunk, behind the last)` for all that the unit adds up, residue by
  // residue. Not marching. kStep: output planes of a position.
  template <bool kShared, int kStep, typename Each>
  __device__ __forceinline__ void for_planes(const Params& p, const Each& each) {
    for (int left = p.sum_residues;;) {
      for (int tap = 0; loads && tap < axis(p, 0).num_taps; ++tap) {
        if constexpr (kShared) {
          const int from = max(begin, 0), to = min(end, p.chunks);
          if (from < to && reaches(p, tap, kStep)) each(tap, from, to);
          begin -= p.chunks;
          end -= p.chunks;
        } else {
          if (reaches(p, tap, kStep)) each(tap, 0, p.chunks);
        }
      }
      if (--left == 0) break;
      next(p);
    }
  }
  // Whether the tap of d reads any input.
  __device__ bool reaches(const Params& p, int tap, int step) const {
    const Residue& of_d = axis(p, 0);
    const int input = of_d.first_input - tap * p.axis[0].input_step;
    return of_d.input_offset + p.axis[0].input_stride * (input + step * to_plane) >= 0 &&
           of_d.input_offset + p.axis[0].input_stride * (input + step * from_plane) <
               p.axis[0].input;
  }
  __host__ __device__ const Residue& axis(const Params& p, int a, int fused = 0) const {
    return p.axis[a].residue[residue[a] + fused];
  }
};

// The taps of h and w of one residue of a unit, the `fused`th of w.
struct Taps {
  int w, count;
  int shift;  // rows from a tile's first to that of tap 0, the last one
  int block;  // its first block of weights, of the first tap of d

  // Residues lie one after another, the last axis fastest.
  __host__ __device__ Taps(const Params& p, const Unit& unit, bool marching, int fused) {
    const Residue &of_d = unit.axis(p, 0), &of_h = unit.axis(p, 1), &of_w = unit.axis(p, 2, fused);
    w = of_w.num_taps;
    count = of_h.num_taps * w;
    shift =
        max(of_h.num_taps - 1, 0) * p.axis[1].input_step * p.pitch + of_w.first_input - unit.halo_w;
    const int before = marching ? 0 : of_d.taps_before, of_planes = marching ? 1 : of_d.num_taps;
    const int planes = marching ? 1 : p.axis[0].kernel;
    block = ((unit.column_tile * planes * p.axis[1].kernel + before * p.axis[1].kernel +
              of_planes * of_h.taps_before) *
                 p.axis[2].kernel +
             of_planes * of_h.num_taps * of_w.taps_before) *
            p.chunks;
  }
};

__device__ __forceinline__ int take(unsigned* index, int radix) {
  const unsigned rest = *index / radix;
  const int digit = static_cast<int>(*index - rest * radix);
  *index = rest;
  return digit;
}

// Of the weight's taps, the one that is the product's `at`th of h and w.
__device__ __forceinline__ int weight_tap(const Params& p, const Unit& unit, const Taps& taps,
                                          int of_d, int at) {
  const int step[3] = {of_d, at / taps.w, at % taps.w};
  int tap = 0;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    const int product_tap = unit.axis(p, a).first_tap + p.axis[a].tap_step * step[a];
    tap = (tap + 1) * p.axis[a].kernel - 1 - product_tap;  // reversed
  }
  return tap;
}

// A line of positions.
struct Line {
  int h, d, n;
  __device__ Line(const Params& p, unsigned index)
      : h(take(&index, p.lines)), d(take(&index, p.planes)), n(static_cast<int>(index)) {}
};

}  // namespace convt3d::cuda::halo_gemm
