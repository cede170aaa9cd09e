// SPDX-License-Identifier: BSD-3-Clause
// One call as the kernel sees it, and the place of a block in it.
#pragma once
#include <cstdint>
#include <type_traits>

#include "cuda/common/axes.h"
#include "cuda/common/divisor.cuh"
#include "cuda/group_gemm/config.h"

namespace convt3d::cuda::group_gemm {

// Elements of a chunk.
template <typename T>
constexpr int kChunk = chunk_of(sizeof(T));
// An element as bits, for copies.
template <typename T>
using Bits = std::conditional_t<sizeof(T) == 2, unsigned short, unsigned>;
// Chunks of a part's columns.
template <typename T>
constexpr int kColumnChunks = kColumns / kChunk<T>;

// How a block reads the input.
enum class Load {
  rows,    // NDHWC: 16 bytes are a chunk
  pairs,   // NCDHW, 16 bits: two positions on w in one load
  single,  // any strides
};

struct GroupGemm : Axes {
  const void* input;
  const void* weight;
  const void* bias;  // may be null
  void* output;      // dense
  int64_t bias_stride;
  int64_t input_bytes[5];               // strides in bytes: n, c, d, h, w
  int64_t weight_stride[5];             // in, out, d, h, w
  int64_t output_plane, output_volume;  // elements of one channel
  int first_cell[3], reach[3], tile[3], halo[3];
  int in_channels, out_channels, groups;
  int group_ins, group_outs;  // channels of a group
  int part_groups;            // of a part, at most
  int parts, parts_of_group, in_chunks, plane;
  int block_parts, part_tiles, boxes, splits;
  int width_blocks, pairs;
  int region[5];            // 16 bytes: where Regions start, in their order behind the halo
  int row_step, unit_step;  // warps side by side on row_units, and on units
  int row_units, units;     // groups of 64 cells of a tile; units of each, in a plane of outputs
  int rows;                 // cells of a tile on h and w
  int first_w;              // on w: the output of residue 0 of the first cell
  int pitch, stage_chunks, spare_chunk;  // elements; 16 bytes each. See store.cuh
  int pair_columns;                      // Load::pairs: loads of a line
  Load load;
  bool whole_rows;  // NDHWC: chunks of the output are aligned and complete
  Taps taps;
  Divisor by_boxes[2], by_halo[2], by_halo_w, by_pair_columns, by_chunks, by_in_chunks;
  Divisor by_width_blocks, by_stride_d, by_stride_h, by_row_step, by_tile_w, by_pairs;
  Divisor by_group_ins, by_group_outs, by_taps[2][kMaxStride];  // by_taps: those of a residue
};

__device__ __forceinline__ bool within(int coordinate, int extent) {
  return static_cast<unsigned>(coordinate) < static_cast<unsigned>(extent);
}

// Channels of a part.
struct Part {
  int first_in, ins, first_out, outs;
};

__device__ __forceinline__ Part find_part(const GroupGemm& p, int index) {
  if (p.parts_of_group == 1) {
    const int group = index * p.part_groups, groups = min(p.part_groups, p.groups - group);
    return {group * p.group_ins, groups * p.group_ins, group * p.group_outs, groups * p.group_outs};
  }
  const int group = index / p.parts_of_group, first = index % p.parts_of_group * kColumns;
  return {group * p.group_ins, p.group_ins, group * p.group_outs + first,
          min(kColumns, p.group_outs - first)};
}

// Whether in channel `in` and out channel `out` of a part are of one group.
__device__ __forceinline__ bool same_group(const GroupGemm& p, int in, int out) {
  divide(&in, p.by_group_ins);
  divide(&out, p.by_group_outs);
  return p.parts_of_group > 1 || in == out;
}

// A tile of cells: its batch item and first cells.
struct Box {
  int n, first[2];
};

__device__ __forceinline__ Box find_box(const GroupGemm& p, int index) {
  Box box;
#pragma unroll
  for (int axis = 1; axis >= 0; --axis) {
    box.first[axis] = p.first_cell[axis] + divide(&index, p.by_boxes[axis]) * p.tile[axis];
  }
  box.n = index;
  return box;
}

// A plane of outputs, which a block computes at once: the lines of its cells in plane `d`.
struct Plane {
  int n;              // batch item
  int cell, residue;  // on d: cell of the tile
  int first_line;     // coordinate on h of residue 0 of the tile's first cell; may be negative
  int top, lines;     // those that there are: the first, and how many
  int64_t first;      // positions before it in a channel
};

__device__ __forceinline__ Plane find_plane(const GroupGemm& p, const Box& box, int index) {
  Plane plane;
  plane.n = box.n;
  plane.cell = index;
  plane.residue = divide(&plane.cell, p.by_stride_d);
  const int d = box.first[0] * p.stride[0] - p.padding[0] + index;
  plane.first_line = box.first[1] * p.stride[1] - p.padding[1];
  plane.top = max(plane.first_line, 0);
  plane.lines = min(plane.first_line + p.tile[1] * p.stride[1], p.output_extent[1]) - plane.top;
  plane.first = int64_t{d} * p.output_plane + int64_t{plane.top} * p.output_extent[2];
  return plane;
}

// What a warp multiplies at once, for 64 cells: one residue of h, a block of residues on w, one
// part.
struct Unit {
  int part, residue_h, block;
};

// NCDHW has one part in a block, and a stride of 2 on w one block of residues.
template <bool kPlanes, int kWidth>
__device__ __forceinline__ Unit find_unit(const GroupGemm& p, int index) {
  Unit unit{0, 0, 0};
  if constexpr (kWidth == 1) unit.block = divide(&index, p.by_width_blocks);
  unit.residue_h = kPlanes ? index : divide(&index, p.by_stride_h);
  if constexpr (!kPlanes) unit.part = index;
  return unit;
}

// A cell of the tile in the table: its place in the halo; the position of residue 0 (of h and w)
// relative to that of the first cell, and, in the low bits, the residues on w that are inside.
constexpr int kInsideBits = 8;
static_assert(kMaxStride <= kInsideBits);

struct Row {
  int place, packed;
};

// Where the outputs of a unit's residues lie in a plane: `origin` is the position of the tile's
// first cell, from the plane's first line on; positions from `count` on are outside.
struct Lines {
  int origin, count;
};

__device__ __forceinline__ Lines find_lines(const GroupGemm& p, const Plane& plane,
                                            const Unit& unit, int width) {
  const int line = plane.first_line - plane.top + unit.residue_h;
  return {line * p.output_extent[2] + p.first_w + unit.block * width,
          plane.lines * p.output_extent[2]};
}

// Whether a residue on w of a row (Row::packed) is inside, at `position`.
__device__ __forceinline__ bool is_inside(int packed, const Lines& lines, int residue,
                                          int position) {
  return (packed & 1 << residue) != 0 && within(position, lines.count);
}

// The regions of shared memory.
struct Regions {
  uint4* halo;     // [part][chunk][place]
  uint4* stage;    // see store.cuh
  uint2* factors;  // B: [part][pair][lane][residue on w of the block]; float32: not split yet
  Row* rows;
  float* bias;   // [part][column]
  int* offsets;  // bytes of the slices of a pair, relative to the cell
};

}  // namespace convt3d::cuda::group_gemm
