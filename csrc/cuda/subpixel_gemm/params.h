// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is given, and what a block keeps in shared memory.
#pragma once
#include <cstdint>

#include "cuda/subpixel_gemm/config.h"
#include "cuda/subpixel_gemm/tuning.h"

namespace convt3d::cuda::subpixel_gemm {

struct Params {
  Config config;
  const void* input;
  const void* weight;
  void* output;
  const void* bias;
  int64_t bias_stride;
  int64_t input_stride[5], weight_stride[5], output_stride[5];
  int batch, groups, ins, outs;  // channels of a group
  int input_extent[3], output_extent[3], kernel[3], stride[3], padding[3];
  int line_outs;  // out channels that are lines of their own; outs = line_outs * tile_outs
  bool paired;    // 16-bit elements 2 j and 2 j + 1 of a line are a word where that is aligned
  void* result;   // of the gradients
  float* parts;   // their partial results
};

// A row of the product: an in channel at a tap u of the sub-pixel kernel, or padding.
struct alignas(16) DepthRow {
  int64_t source;  // from a position's input
  int64_t weight;
  uint32_t taps;  // u, with kByteTops on top: d, h, w from the low byte on; padding: kNoTap
  int limit[2];   // of a residue: kernel - stride * u. Two of 16 bits, d and h; w
};

// A column: an out channel and a residue, or padding.
struct alignas(16) Column {
  int64_t weight;
  int residue[2];  // two of 16 bits, d and h; w. Padding is beyond all limits
  float bias;
};

// Bytes up to 127 are compared by subtraction: the top bit of each is left if it does not borrow.
inline constexpr uint32_t kByteTops = 0x808080;
inline constexpr uint32_t kNoTap = 0xffffff;
inline constexpr int kMostTap = 126;

// A position of a tile: its input, and the taps u that lie inside, in bytes as above.
struct alignas(16) Row {
  int64_t source;
  uint32_t least, most;  // `most` with kByteTops
};

// A line of a tile in the output.
struct alignas(16) Segment {
  void* output;  // of its element 0; null: not in the output
  int stage;     // bytes to element 0 there
  int odd;       // 1: element 0 is the second of a word
};

// What is in the output of a tile's lines: elements [begin, end), and of which kinds, a bit each:
// lines that are not odd, and lines that are.
struct alignas(16) Range {
  int begin, end, kinds;
};

// A line of a chunk, and a line of positions: their share in an output's address.
struct alignas(16) Line {
  int64_t offset;
  int at[2];  // d, h
};

constexpr int64_t align16(int64_t bytes) { return (bytes + 15) / 16 * 16; }
constexpr int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Shared memory of a block: bytes from its start.
struct Places {
  int depth, columns, lines, rows, positions, segments, range, order, jumps, a, b, stage, sums, end;
  int pitch, stage_pitch, sums_pitch;  // bytes of a row of a or b; elements of stage, of sums

  constexpr Places(Direction direction, const Config& config, const ResidueClass& c, int stride_w,
                   int element) {
    const bool forward = direction == Direction::forward;
    const bool weight = direction == Direction::grad_weight;
    const int64_t groups = config.tile_groups, all_columns = groups * c.columns;
    const int64_t depth_rows = round_up(c.depth, 16);
    int64_t at = 0;
    const auto take = [&at](int64_t bytes) {
      const int64_t from = at;
      at += align16(bytes);
      return static_cast<int>(from < kMaxCount ? from : kMaxCount);
    };
    // Rows start in banks of their own: of eight that ldmatrix reads 16 bytes from; of four that
    // grad_weight reads eight floats from.
    pitch = c.depth * element + (weight && element == 4 ? 32 : 16);
    stage_pitch =
        static_cast<int>(all_columns) + (direction == Direction::grad_input ? 16 / element : 8);
    sums_pitch = static_cast<int>(depth_rows) + 1;
    depth = take(c.depth * int64_t{sizeof(DepthRow)});
    columns = take(all_columns * int64_t{sizeof(Column)});
    lines = take(c.lines * int64_t{sizeof(Line)});
    rows = take(kTileRows * int64_t{sizeof(Row)});
    range = take(sizeof(Range));
    positions = take(config.tile_lines * int64_t{sizeof(Line)});
    segments = take(int64_t{config.tile_lines} * c.lines * int64_t{sizeof(Segment)});
    const int64_t elements =
        int64_t{config.tile_w} * stride_w * config.tile_groups * config.tile_outs;
    order = take(elements * 4);
    jumps = take(config.dense ? 0 : elements * 4);
    a = take(direction == Direction::grad_input ? 0 : groups * kTileRows * pitch);
    // grad_input: rows of all columns.
    b = take(forward ? all_columns * pitch : weight ? 0 : depth_rows * stage_pitch * element);
    stage = take(int64_t{kTileRows} * stage_pitch * element);
    sums = take(direction == Direction::grad_input ? groups * kTileRows * sums_pitch * 4 : 0);
    end = static_cast<int>(at < kMaxCount ? at : kMaxCount);
  }
};

// A unit's columns 2 * i and 2 * i + 1: bytes from a position's element 0 in the stage, and bias.
struct alignas(16) ColumnPair {
  int offset[2];
  float bias[2];
};

// Runs of lines that follow each other in h, of an out channel and residue of d.
constexpr int runs_h(const ResidueClass& c) { return (c.residues[1] + c.lines - 1) / c.lines; }

// Words of the weights of a run: in the order that lanes read them, two a step of an n8 tile, and
// in float32 their low parts.
constexpr int run_words(const ResidueClass& c, int element) {
  return c.columns / 8 * (c.depth * element / 32) * 32 * (element == 4 ? 4 : 2);
}

// Shared memory of a block of units. A warp's stage has a part for each line of positions: its
// lines as they are in the output, from the same place modulo 16 bytes on.
struct UnitPlaces {
  int columns, offsets, weights, stage, end;
  int line_bytes, part_bytes;
  bool merged;  // lines of a run are neighbours

  constexpr UnitPlaces(const Config& config, const ResidueClass& c, int stride_w, int element,
                       int output_w) {
    const int64_t pixel = int64_t{config.tile_groups} * config.tile_outs * element;
    merged = config.parts_w == 1;
    const int64_t line =
        merged ? output_w * pixel
               : align16(config.step_w * stride_w * pixel) + 16 + output_w * pixel % 16;
    const int64_t part = align16(c.lines * line + stride_w * pixel + 32);
    const int64_t groups = config.tile_groups;
    columns = 0;
    offsets = columns + static_cast<int>(groups * c.columns / 2 * int64_t{sizeof(ColumnPair)});
    weights = offsets + static_cast<int>(align16(c.depth * element / 4 * 4));
    const int64_t at = weights + groups * c.runs * run_words(c, element) * 4;
    stage = static_cast<int>(at < kMaxCount ? at : kMaxCount);
    const int64_t all = at + kUnitWarps * config.tile_lines * part;
    end = static_cast<int>(all < kMaxCount ? all : kMaxCount);
    line_bytes = static_cast<int>(line < kMaxCount ? line : kMaxCount);
    part_bytes = static_cast<int>(part < kMaxCount ? part : kMaxCount);
  }
};

}  // namespace convt3d::cuda::subpixel_gemm
