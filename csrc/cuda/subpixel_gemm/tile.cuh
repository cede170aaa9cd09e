// SPDX-License-Identifier: BSD-3-Clause
// A block's share of the work, and its tables and tiles in shared memory.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/subpixel_gemm/params.h"

namespace convt3d::cuda::subpixel_gemm {

// Two elements of 16 bits, or one of 32: what a lane loads and stores at a time.
template <typename T>
inline constexpr int kPerWord = 4 / static_cast<int>(sizeof(T));

// What a block does: a chunk of lines of some groups, and a range of tiles of positions.
struct Job {
  const ResidueClass* c;
  int group, first_line, first_tile, end_tile;

  __device__ Job(const Params& p, int block) {
    int index = 0;
    while (index + 1 < p.config.num_classes && block >= p.config.classes[index + 1].first_block) {
      ++index;
    }
    c = &p.config.classes[index];
    int rest = block - c->first_block;
    const int split = rest % c->splits;
    rest /= c->splits;
    first_line = rest % c->chunks * c->lines;
    group = rest / c->chunks * p.config.tile_groups;
    first_tile = static_cast<int>(int64_t{c->tiles} * split / c->splits);
    end_tile = static_cast<int>(int64_t{c->tiles} * (split + 1) / c->splits);
  }
};

// The tables and tiles of a block.
template <typename T>
struct Shared {
  DepthRow* depth;
  Column* columns;
  Line* lines;
  Row* rows;
  Line* positions;
  Segment* segments;
  Range* range;
  uint32_t* order;  // of element e of a line: bytes in stage; of 16 bits: on top those of e + 1
  int* jumps;       // of element e: places in the output
  T *a, *b, *stage;
  float* sums;
  int pitch, stage_pitch, sums_pitch;

  __device__ Shared(const Places& at, unsigned char* memory)
      : depth(reinterpret_cast<DepthRow*>(memory + at.depth)),
        columns(reinterpret_cast<Column*>(memory + at.columns)),
        lines(reinterpret_cast<Line*>(memory + at.lines)),
        rows(reinterpret_cast<Row*>(memory + at.rows)),
        positions(reinterpret_cast<Line*>(memory + at.positions)),
        segments(reinterpret_cast<Segment*>(memory + at.segments)),
        range(reinterpret_cast<Range*>(memory + at.range)),
        order(reinterpret_cast<uint32_t*>(memory + at.order)),
        jumps(reinterpret_cast<int*>(memory + at.jumps)),
        a(reinterpret_cast<T*>(memory + at.a)),
        b(reinterpret_cast<T*>(memory + at.b)),
        stage(reinterpret_cast<T*>(memory + at.stage)),
        sums(reinterpret_cast<float*>(memory + at.sums)),
        pitch(at.pitch),
        stage_pitch(at.stage_pitch),
        sums_pitch(at.sums_pitch) {}
};

// The line of a chunk: its out channel (of line_outs) and residues of d and h.
struct LineDigits {
  int out, residue[2];

  __device__ LineDigits(const ResidueClass& c, int line) {
    residue[1] = c.residue[1] + line % c.residues[1];
    line /= c.residues[1];
    residue[0] = c.residue[0] + line % c.residues[0];
    out = line / c.residues[0];
  }
};

__device__ __forceinline__ int pack_two(int first, int second) { return first << 16 | second; }

__device__ __forceinline__ bool is_below(const int (&residue)[2], const int (&limit)[2]) {
  // Each of the 16-bit halves, as signed numbers.
  return __vcmplts2(residue[0], limit[0]) == 0xffffffffu && residue[1] < limit[1];
}

template <typename T>
__device__ __forceinline__ void fill_tables(const Params& p, const Job& job,
                                            const Shared<T>& shared) {
  const ResidueClass& c = *job.c;
  const Config& config = p.config;
  const int depth = p.ins * c.taps[0] * c.taps[1] * config.taps_w;
  for (int k = threadIdx.x; k < c.depth; k += kThreads) {
    int rest = k;
    const int channel = rest % p.ins;
    rest /= p.ins;
    const int w = rest % config.taps_w;
    rest /= config.taps_w;
    const int h = rest % max(c.taps[1], 1), d = rest / max(c.taps[1], 1);
    DepthRow row{0, 0, kNoTap, {0, 0}};
    if (k < depth) {
      row.source = channel * p.input_stride[1] - d * p.input_stride[2] - h * p.input_stride[3] -
                   w * p.input_stride[4];
      row.taps = d | h << 8 | w << 16 | kByteTops;
      row.weight = channel * p.weight_stride[0] + d * p.stride[0] * p.weight_stride[2] +
                   h * p.stride[1] * p.weight_stride[3] + w * p.stride[2] * p.weight_stride[4];
      row.limit[0] = pack_two(p.kernel[0] - d * p.stride[0], p.kernel[1] - h * p.stride[1]);
      row.limit[1] = p.kernel[2] - w * p.stride[2];
    }
    shared.depth[k] = row;
  }
  const int all_lines = p.line_outs * c.residues[0] * c.residues[1];
  for (int n = threadIdx.x; n < config.tile_groups * c.columns; n += kThreads) {
    const int group = n / c.columns;
    int rest = n % c.columns;
    const int w = rest % p.stride[2];
    rest /= p.stride[2];
    const int line = job.first_line + rest % c.lines, tile_out = rest / c.lines;
    constexpr int kNone = 0x7fff;
    Column column{0, {pack_two(kNone, kNone), kNone}, 0};
    if (tile_out < config.tile_outs && line < all_lines) {
      const LineDigits digits(c, line);
      const int out = digits.out + tile_out;
      column.weight = int64_t{job.group + group} * p.ins * p.weight_stride[0] +
                      out * p.weight_stride[1] + digits.residue[0] * p.weight_stride[2] +
                      digits.residue[1] * p.weight_stride[3] + w * p.weight_stride[4];
      column.residue[0] = pack_two(digits.residue[0], digits.residue[1]);
      column.residue[1] = w;
      if (p.bias != nullptr) {
        column.bias = widen(static_cast<const T*>(
            p.bias)[(int64_t{job.group + group} * p.outs + out) * p.bias_stride]);
      }
    }
    shared.columns[n] = column;
  }
  for (int l = threadIdx.x; l < c.lines; l += kThreads) {
    Line line{0, {-1, -1}};
    if (job.first_line + l < all_lines) {
      const LineDigits digits(c, job.first_line + l);
      line = {(int64_t{job.group} * p.outs + digits.out) * p.output_stride[1] +
                  digits.residue[0] * p.output_stride[2] + digits.residue[1] * p.output_stride[3],
              {digits.residue[0], digits.residue[1]}};
    }
    shared.lines[l] = line;
  }
  // A line of the output, w by w and channel by channel.
  const int channels = config.tile_groups * config.tile_outs;
  const auto place = [&](int e) {
    const int channel = e % channels, w = e / channels;
    return static_cast<int>(sizeof(T)) *
           (w / p.stride[2] * shared.stage_pitch + channel / config.tile_outs * c.columns +
            channel % config.tile_outs * c.lines * p.stride[2] + w % p.stride[2]);
  };
  const int elements = config.tile_w * p.stride[2] * channels;
  for (int e = threadIdx.x; e < elements; e += kThreads) {
    shared.order[e] = place(e) | (sizeof(T) == 2 && e + 1 < elements ? place(e + 1) << 16 : 0);
    if (!config.dense) {
      shared.jumps[e] =
          static_cast<int>(e / channels * p.output_stride[4] + e % channels * p.output_stride[1]);
    }
  }
}

// Element of a tensor as bits, or 0.
template <typename T>
__device__ __forceinline__ uint32_t load_bits(const T* element, bool there) {
  using Bits = std::conditional_t<sizeof(T) == 2, unsigned short, uint32_t>;
  return there ? *reinterpret_cast<const Bits*>(element) : 0;
}

// The chunk's weights: B[column][depth], kPerWord of depth at a time.
template <typename T>
__device__ __forceinline__ void fill_weights(const Params& p, const Job& job,
                                             const Shared<T>& shared) {
  constexpr int kUnroll = 6;
  const int lane = threadIdx.x % 32, words = job.c->depth / kPerWord<T>;
  const T* const weight = static_cast<const T*>(p.weight);
  const int all_columns = p.config.tile_groups * job.c->columns;
  const int items = (all_columns + 31) / 32 * words;  // 32 columns, a word of depth
#pragma unroll 1
  for (int first = threadIdx.x / 32; first < items; first += kWarps * kUnroll) {
    uint32_t word[kUnroll];
    int place[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int item = min(first + u * kWarps, items - 1);
      const int n = item / words * 32 + lane, at = item % words;
      const Column& column = shared.columns[min(n, all_columns - 1)];
      place[u] = n < all_columns ? n * (shared.pitch / 4) + at : -1;
      word[u] = 0;
#pragma unroll
      for (int i = 0; i < kPerWord<T>; ++i) {
        const DepthRow& row = shared.depth[at * kPerWord<T> + i];
        word[u] |=
            load_bits(weight + column.weight + row.weight, is_below(column.residue, row.limit))
            << 16 * i;
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (place[u] >= 0) reinterpret_cast<uint32_t*>(shared.b)[place[u]] = word[u];
    }
  }
}

// A tile's part of a line, and the position of this lane.
struct Positions {
  int line, w;  // in the tile; none: line < 0
  int first_w, n, q[2];

  __device__ Positions(const Params& p, const ResidueClass& c, int tile) {
    const int lane = threadIdx.x % 32;
    line = lane / p.config.tile_w;
    w = lane % p.config.tile_w;
    first_w = tile % p.config.parts_w * p.config.step_w;
    int rest = tile / p.config.parts_w * p.config.tile_lines + line;
    q[1] = rest % c.num_q[1];
    rest /= c.num_q[1];
    q[0] = rest % c.num_q[0];
    n = rest / c.num_q[0];
    if (line >= p.config.tile_lines) line = -1;
  }
  __device__ bool there(const Params& p) const { return line >= 0 && n < p.batch; }
};

// The rows and lines of a tile. By one warp, as fill_segments().
template <typename T>
__device__ __forceinline__ void put_positions(const Params& p, const Job& job,
                                              const Shared<T>& shared, int tile) {
  const ResidueClass& c = *job.c;
  const Positions positions(p, c, tile);
  const int local_w = positions.first_w + positions.w;
  const int q[3] = {c.first_q[0] + positions.q[0], c.first_q[1] + positions.q[1],
                    p.config.first_q + local_w};
  const bool there = positions.there(p) && local_w < p.config.num_q;
  Row row{positions.n * p.input_stride[0] + int64_t{job.group} * p.ins * p.input_stride[1], 0,
          kByteTops};
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    row.source += q[axis] * p.input_stride[2 + axis];
    const int first = max(0, q[axis] - p.input_extent[axis] + 1);
    const bool none = !there || q[axis] < 0 || first > kMostTap;
    row.least |= static_cast<uint32_t>(none ? kMostTap + 1 : first) << 8 * axis;
    row.most |= static_cast<uint32_t>(none ? 0 : min(q[axis], kMostTap)) << 8 * axis;
  }
  shared.rows[threadIdx.x % 32] = row;
  if (positions.line < 0 || positions.w != 0) return;
  Line line{0, {-kMaxCount, -kMaxCount}};
  if (positions.there(p)) {
    const int d = q[0] * p.stride[0] - p.padding[0], h = q[1] * p.stride[1] - p.padding[1];
    line = {positions.n * p.output_stride[0] + d * p.output_stride[2] + h * p.output_stride[3],
            {d, h}};
  }
  shared.positions[positions.line] = line;
}

// x = high + low for TF32: tensor cores read 11 bits, of which low has at most one more. Where
// either is not finite, the sum is computed once more.
template <int n>
__device__ __forceinline__ void split(const uint32_t (&x)[n], uint32_t (&high)[n],
                                      uint32_t (&low)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    high[i] = round_to_tf32(x[i]);
    low[i] = __float_as_uint(__uint_as_float(x[i]) - __uint_as_float(high[i]));
  }
}

// A[position][depth] of each group: the inputs that a tile's positions multiply; kUnroll
// words of each warp at a time.
template <int kUnroll, typename T>
__device__ __forceinline__ void fill_inputs(const Params& p, const Job& job,
                                            const Shared<T>& shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Row row = shared.rows[lane];
  const int words = job.c->depth / kPerWord<T>;
  const T* source = static_cast<const T*>(p.input) + row.source;
  uint32_t* target = reinterpret_cast<uint32_t*>(shared.a) + lane * (shared.pitch / 4);
  const int groups = p.config.tile_groups;
  const int64_t group_step = p.ins * p.input_stride[1];
  for (int group = 0; group < groups; ++group) {
#pragma unroll 1
    for (int from = warp; from < words; from += kWarps * kUnroll) {
      uint32_t word[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        word[u] = 0;
        if (from + u * kWarps >= words) continue;
#pragma unroll
        for (int i = 0; i < kPerWord<T>; ++i) {
          const DepthRow& tap = shared.depth[(from + u * kWarps) * kPerWord<T> + i];
          const uint32_t above = tap.taps - row.least;
          const uint32_t below = row.most - (tap.taps & ~kByteTops);
          const bool inside = (above & below & kByteTops) == kByteTops;
          word[u] |= load_bits(source + tap.source, inside) << 16 * i;
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (from + u * kWarps < words) target[from + u * kWarps] = word[u];
      }
    }
    source += group_step;
    target += kTileRows * (shared.pitch / 4);
  }
}

}  // namespace convt3d::cuda::subpixel_gemm
