// SPDX-License-Identifier: BSD-3-Clause
// forward with long strides over few positions, on the tensor cores: products of all taps with all
// positions, which are then added up where taps meet.
//
//   output[n, co, o] = bias[co] + sum over t with o + p = s*i + t of C[(n, i)][t],
//   C[(n, i)][t] = sum over ci of input[n, ci, i] * weight[ci, co, t]
//
//   M = positions (n, i)      N = taps of a pair of residues of d and h      K = in channels
//
//           in channels ->         in channels ->        taps ->                 w ->
//           +------------+       t +------------+        +------------+          +------------+
//   (n, i)  | X          |    x    | weights    |   =    | products   |  ----->  | lines of   |
//           |            |         | of a pair  |        |            |   fold   | the output |
//           +------------+         +------------+        +------------+          +------------+
//
// A block takes an out channel and every p.blocks-th pair of residues. X and the weights of all of
// them come to shared memory at once; then pair by pair: multiply | sync | fold, a line a warp |
// sync. A float32 sum that is not finite, or below 2**-90, is computed once more from X and the
// weights. is_folded_forward() guarantees: no dilation, at most 8 taps of an output, 32-bit counts.
// Strides in memory are 64-bit.
#pragma once
#include "cuda/common/axes.h"
#include "cuda/common/folded.h"
#include "cuda/few_channels/gathered_rows.cuh"

namespace convt3d::cuda::few_channels {

inline constexpr int kFoldedWarps = 8, kFoldedThreads = 32 * kFoldedWarps;
// Words that a thread has in flight, and tiles of taps that a warp multiplies at once.
inline constexpr int kFoldedLoads = 16, kFoldedTiles = 4;
// Lines of the output that a warp adds up at once.
inline constexpr int kFoldedLines = 4;

struct FoldedSum : Axes {
  const void* input;
  const void* weight;
  const void* bias;  // may be null
  void* output;
  int64_t bias_stride;
  int64_t input_stride[5], weight_stride[5], output_stride[5];
  int whole[3], rest[3];  // residue r has whole + (r < rest) taps
  int ins, outs;          // channels of a group
  int positions, rows;    // and padded
  int lines;              // of output of a pair: batch x cells, at most
  int pairs, blocks;      // of an out channel
  int tap_rows, pitch, columns;
  bool channels_last;  // of the input
  Divisor by_blocks, by_outs, by_stride[3], by_extent[3], by_cells[2], by_words, by_kernel;
};

// Two residues, of d and h.
struct ResiduePair {
  int residue[2], taps[2];
  int first_cell[2];  // whose output is not before the first

  __device__ ResiduePair(const FoldedSum& p, int pair) {
    residue[1] = divide(&pair, p.by_stride[1]);
    residue[0] = pair;
#pragma unroll
    for (int axis = 0; axis < 2; ++axis) {
      taps[axis] = p.whole[axis] + (residue[axis] < p.rest[axis] ? 1 : 0);
      first_cell[axis] = max(p.padding[axis] - residue[axis], 0) + p.stride[axis] - 1;
      divide(&first_cell[axis], p.by_stride[axis]);
    }
  }
  __device__ int lines() const { return taps[0] * taps[1]; }
};

// A line of the output.
struct alignas(16) FoldedLine {
  int64_t output;  // where its element 0 is
  int first;       // position of cell 0 where taps 0 of d and h meet it
  uint32_t meets;  // a bit for each line of taps; kNoLine: behind the end
};
inline constexpr uint32_t kNoLine = 1u << 31;

// A block's shared memory.
template <typename T>
struct FoldedShared {
  T *x, *y;  // [position], [tap]: in channels, p.pitch bytes
  float* products;
  FoldedLine* lines;
  int64_t* sources;  // of positions
  int64_t* factors;  // of lines of taps: pairs of taps of d and h
  int* factor_lines;

  __device__ FoldedShared(const FoldedSum& p, unsigned char* memory)
      : x(reinterpret_cast<T*>(memory)),
        y(reinterpret_cast<T*>(memory + p.rows * p.pitch)),
        products(reinterpret_cast<float*>(memory + (p.rows + p.tap_rows) * p.pitch)),
        lines(reinterpret_cast<FoldedLine*>(products + p.rows * p.columns)),
        sources(reinterpret_cast<int64_t*>(lines + p.lines)),
        factors(sources + p.rows + 1),
        factor_lines(reinterpret_cast<int*>(sources + p.rows)) {}
};

// Where positions and lines of taps are, from the group's and the out channel's first element.
template <typename T>
__device__ __forceinline__ void fill_folded_tables(const FoldedSum& p, int block,
                                                   const FoldedShared<T>& shared) {
  for (int i = threadIdx.x; i < p.positions; i += kFoldedThreads) {
    int64_t source = 0;
    int rest = i;
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      source += divide(&rest, p.by_extent[axis]) * p.input_stride[2 + axis];
    }
    shared.sources[i] = source + rest * p.input_stride[0];
  }
  if (threadIdx.x >= 32) return;
  int line = 0;
  for (int index = block; index < p.pairs; index += p.blocks) {
    const ResiduePair pair(p, index);
    const int own = static_cast<int>(threadIdx.x);
    if (own < pair.lines()) {
      const int h = own % pair.taps[1], d = own / pair.taps[1];
      shared.factors[line + own] = (pair.residue[0] + d * p.stride[0]) * p.weight_stride[2] +
                                   (pair.residue[1] + h * p.stride[1]) * p.weight_stride[3];
    }
    line += pair.lines();
  }
  if (threadIdx.x == 0) *shared.factor_lines = line;
}

// Rows of in channels, source(row)[channel * stride], to shared memory, with zeros behind them.
// Neighbouring lanes take neighbouring words of a row or, else, neighbouring rows.
template <bool kChannelsLast, typename T, typename Source>
__device__ __forceinline__ void load_rows(const FoldedSum& p, int rows, int64_t stride,
                                          const Source& source, T* target) {
  constexpr int kPerWord = 4 / static_cast<int>(sizeof(T));
  const int lane = threadIdx.x % 32, words = static_cast<int>(p.by_words.value);
  const int items = kChannelsLast ? (rows * words + 31) / 32 : (rows + 31) / 32 * words;
#pragma unroll 1
  for (int first = threadIdx.x / 32; first < items; first += kFoldedWarps * kFoldedLoads) {
    uint32_t word[kFoldedLoads];
    int place[kFoldedLoads];  // none: below 0
#pragma unroll
    for (int u = 0; u < kFoldedLoads; ++u) {
      const int item = first + u * kFoldedWarps;
      int row = kChannelsLast ? item * 32 + lane : item;
      const int at = divide(&row, p.by_words);
      if (!kChannelsLast) row = row * 32 + lane;
      const bool there = item < items && row < rows;
      const T* const from = source(there ? row : 0) + int64_t{at} * kPerWord * stride;
      place[u] = there ? row * (p.pitch / 4) + at : -1;
      word[u] = 0;
#pragma unroll
      for (int i = 0; i < kPerWord; ++i) {
        const bool real = there && at * kPerWord + i < p.ins;
        word[u] |= static_cast<uint32_t>(load_bits<T>(from + i * stride, real)) << 16 * i;
      }
    }
#pragma unroll
    for (int u = 0; u < kFoldedLoads; ++u) {
      if (place[u] >= 0) reinterpret_cast<uint32_t*>(target)[place[u]] = word[u];
    }
  }
}

// Products of all positions with `columns` taps, of which `factors` is the first row.
template <typename T>
__device__ __forceinline__ void multiply_taps(const FoldedSum& p, int columns, uint32_t inputs,
                                              uint32_t factors, float* products) {
  constexpr bool kSplit = sizeof(T) == 4;
  const int lane = threadIdx.x % 32;
  const int row_tiles = p.rows / 16, tiles = (columns + 7) / 8;
  const int chunks = (tiles + kFoldedTiles - 1) / kFoldedTiles;
  const int chunk_tiles = (tiles + chunks - 1) / max(chunks, 1);
#pragma unroll 1
  for (int item = threadIdx.x / 32; item < row_tiles * chunks; item += kFoldedWarps) {
    const int chunk = item / row_tiles, first_row = (item - chunk * row_tiles) * 16;
    const int first_tile = chunk * chunk_tiles, own = min(chunk_tiles, tiles - first_tile);
    uint32_t from = inputs + (first_row + lane % 16) * p.pitch + lane / 16 * 16;
    uint32_t with = factors + (first_tile * 8 + lane % 8) * p.pitch + lane / 8 * 16;
    float sums[kFoldedTiles][4] = {};
#pragma unroll 1
    for (int left = p.pitch - 16; left > 0; left -= 64, from += 64, with += 64) {
      uint32_t a[2][4], rest[2][4];
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        load_matrices(a[step], from + step * 32);
        if constexpr (kSplit) {
          const uint32_t whole[4] = {a[step][0], a[step][1], a[step][2], a[step][3]};
          split_operand(whole, a[step], rest[step]);
        }
      }
#pragma unroll
      for (int tile = 0; tile < kFoldedTiles; ++tile) {
        if (tile >= own) break;
        uint32_t b[4];
        load_matrices(b, with + tile * 8 * p.pitch);
#pragma unroll
        for (int step = 0; step < 2; ++step) {
          const uint32_t whole[2] = {b[2 * step], b[2 * step + 1]};
          if constexpr (kSplit) {  // tensor cores truncate as they add: from zero, small ones first
            uint32_t high[2], low[2];
            split_operand(whole, high, low);
            float part[4] = {};
            mma_sync<T>(part, rest[step], high);
            mma_sync<T>(part, a[step], low);
            mma_sync<T>(part, a[step], high);
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[tile][i] += part[i];
          } else {
            mma_sync<T>(sums[tile], a[step], whole);
          }
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < kFoldedTiles; ++tile) {
      if (tile >= own) break;
      float* const to =
          products + (first_row + lane / 4) * p.columns + (first_tile + tile) * 8 + lane % 4 * 2;
      *reinterpret_cast<float2*>(to) = make_float2(sums[tile][0], sums[tile][1]);
      *reinterpret_cast<float2*>(to + 8 * p.columns) = make_float2(sums[tile][2], sums[tile][3]);
    }
  }
}

// Lines of the output of a pair: where they are, and what meets there.
__device__ __forceinline__ void fill_lines(const FoldedSum& p, const ResiduePair& pair,
                                           FoldedLine* lines) {
  for (int i = threadIdx.x; i < p.lines; i += kFoldedThreads) {
    int n = i, at[2];
#pragma unroll
    for (int axis = 1; axis >= 0; --axis) {
      at[axis] = pair.first_cell[axis] + divide(&n, p.by_cells[axis]);
    }
    const int d = at[0] * p.stride[0] + pair.residue[0] - p.padding[0];
    const int h = at[1] * p.stride[1] + pair.residue[1] - p.padding[1];
    FoldedLine line{n * p.output_stride[0] + d * p.output_stride[2] + h * p.output_stride[3], 0, 0};
    line.first = ((n * p.input_extent[0] + at[0]) * p.input_extent[1] + at[1]) * p.input_extent[2];
    for (int own = 0; own < pair.lines(); ++own) {
      const int u = own / pair.taps[1], v = own - u * pair.taps[1];
      const bool meets =
          within(at[0] - u, p.input_extent[0]) && within(at[1] - v, p.input_extent[1]);
      line.meets |= (meets ? 1u : 0u) << own;
    }
    if (d >= p.output_extent[0] || h >= p.output_extent[1]) line.meets = kNoLine;
    lines[i] = line;
  }
}

// A float32 sum that tensor cores may have got wrong, from X and the weights.
template <typename T>
__device__ __noinline__ float sum_again(const FoldedSum& p, const ResiduePair& pair, int first_tap,
                                        const FoldedLine& line, int cell, int residue, int begin,
                                        int end, const FoldedShared<T>& shared) {
  float sum = 0;
  for (int own = 0; own < pair.lines(); ++own) {
    if ((line.meets >> own & 1) == 0) continue;
    const int u = own / pair.taps[1], v = own - u * pair.taps[1];
    for (int j = begin; j < end; ++j) {
      const int row = line.first - (u * p.input_extent[1] + v) * p.input_extent[2] + cell - j;
      const int tap = first_tap + own * p.kernel[2] + residue + j * p.stride[2];
      const T* const x = shared.x + row * (p.pitch / static_cast<int>(sizeof(T)));
      const T* const y = shared.y + tap * (p.pitch / static_cast<int>(sizeof(T)));
      for (int in = 0; in < p.ins; ++in) sum = fmaf(widen(x[in]), widen(y[in]), sum);
    }
  }
  return sum;
}

// The outputs of a pair, whose taps begin in row `first_tap`: a warp takes kFoldedLines lines at a
// time, its lanes neighbouring outputs.
template <typename T>
__device__ __forceinline__ void fold_lines(const FoldedSum& p, const ResiduePair& pair,
                                           int first_tap, float bias, T* output,
                                           const FoldedShared<T>& shared) {
  const int most_taps = p.whole[2] + (p.rest[2] > 0 ? 1 : 0);
#pragma unroll 1
  for (int first_o = 0; first_o < p.output_extent[2]; first_o += 32) {
    const int o = first_o + static_cast<int>(threadIdx.x) % 32;
    int cell = o + p.padding[2];
    const int residue = divide(&cell, p.by_stride[2]);
    const int begin = max(0, cell - p.input_extent[2] + 1);
    const int end = min(cell + 1, p.whole[2] + (residue < p.rest[2] ? 1 : 0));
#pragma unroll 1
    for (int first = threadIdx.x / 32; first < p.lines; first += kFoldedWarps * kFoldedLines) {
      FoldedLine line[kFoldedLines];
      float sum[kFoldedLines] = {};
#pragma unroll
      for (int l = 0; l < kFoldedLines; ++l) {
        const int index = first + l * kFoldedWarps;
        line[l] = shared.lines[min(index, p.lines - 1)];
        if (index >= p.lines) line[l].meets = kNoLine;
      }
      int u = 0, v = 0;
#pragma unroll 1
      for (int own = 0; own < pair.lines(); ++own) {
        const int back = (u * p.input_extent[1] + v) * p.input_extent[2];
        const float* product =
            shared.products + (cell - back) * p.columns + own * p.kernel[2] + residue;
#pragma unroll 1
        for (int j = 0; j < most_taps; ++j) {
          const bool hits = j >= begin && j < end;
#pragma unroll
          for (int l = 0; l < kFoldedLines; ++l) {
            if (hits && (line[l].meets >> own & 1) != 0) {
              sum[l] += product[line[l].first * p.columns];
            }
          }
          product += p.stride[2] - p.columns;
        }
        if (++v == pair.taps[1]) {
          v = 0;
          ++u;
        }
      }
#pragma unroll
      for (int l = 0; l < kFoldedLines; ++l) {
        if (line[l].meets >= kNoLine || o >= p.output_extent[2]) continue;
        if constexpr (sizeof(T) == 4) {
          if (is_doubtful(sum[l])) {
            sum[l] = sum_again(p, pair, first_tap, line[l], cell, residue, begin, end, shared);
          }
        }
        output[line[l].output + o * p.output_stride[4]] = narrow<T>(sum[l] + bias);
      }
    }
  }
}

template <typename T>
__global__ __launch_bounds__(kFoldedThreads, kFoldedBlocksPerSm) void folded_kernel(
    const __grid_constant__ FoldedSum p) {
  extern __shared__ __align__(128) unsigned char memory[];
  const FoldedShared<T> shared(p, memory);
  int channel = blockIdx.x;
  const int block = divide(&channel, p.by_blocks);
  int group = channel;
  const int out = divide(&group, p.by_outs);
  fill_folded_tables(p, block, shared);
  const float bias =
      load_or_zero(static_cast<const T*>(p.bias) + channel * p.bias_stride, p.bias != nullptr);
  __syncthreads();  // the tables are there
  const int64_t first_in = int64_t{group} * p.ins;
  const T* const input = static_cast<const T*>(p.input) + first_in * p.input_stride[1];
  const auto source = [&](int row) { return input + shared.sources[row]; };
  if (p.channels_last) {
    load_rows<true>(p, p.positions, p.input_stride[1], source, shared.x);
  } else {
    load_rows<false>(p, p.positions, p.input_stride[1], source, shared.x);
  }
  const T* const weight =
      static_cast<const T*>(p.weight) + first_in * p.weight_stride[0] + out * p.weight_stride[1];
  const auto factor = [&](int row) {
    const int tap = divide(&row, p.by_kernel);
    return weight + shared.factors[row] + tap * p.weight_stride[4];
  };
  load_rows<false>(p, *shared.factor_lines * p.kernel[2], p.weight_stride[0], factor, shared.y);
  T* const output = static_cast<T*>(p.output) + channel * p.output_stride[1];
  int first_tap = 0;
#pragma unroll 1
  for (int index = block; index < p.pairs; index += p.blocks) {
    const ResiduePair pair(p, index);
    const int columns = pair.lines() * p.kernel[2];
    __syncthreads();  // X and the weights are there, or the last pair's products have been read
    fill_lines(p, pair, shared.lines);
    multiply_taps<T>(p, columns, shared_address(shared.x),
                     shared_address(shared.y) + first_tap * p.pitch, shared.products);
    __syncthreads();  // the products and lines are there
    fold_lines<T>(p, pair, first_tap, bias, output, shared);
    first_tap += columns;
  }
}

}  // namespace convt3d::cuda::few_channels
