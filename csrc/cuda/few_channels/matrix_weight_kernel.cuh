// SPDX-License-Identifier: BSD-3-Clause
// grad_weight on the tensor cores.
//
//   weight[ci, co, t] = sum over n, i of input[n, ci, i] * output[n, co, s*i + d*t - p]
//
// M: eight out channels of two taps, N: eight in channels, K: 16 positions. Both operands lie with
// positions as rows and are transposed as they are loaded. A warp keeps up to kPairs pairs of taps
// and kBlocks times eight in channels; warps have other taps, or other positions:
//
//            taps ->
//   position +--------+--------+        tap_slices = 2: warps 0 and 1 have the two halves of the
//     slice  | warp 0 | warp 1 |        taps, warps 2 and 3 the same for the next 16 positions
//     |      +--------+--------+
//     v      | warp 2 | warp 3 |        the slices of positions are added in order
//            +--------+--------+
//
// In 16 bits and NDHWC a block may have two groups, whose chunks are one sector of memory: half of
// the warps each.
//
// The tensor cores truncate as they add, so no sum runs through more than kMaxInstructions of them:
// after so many, sums go to this block's part in the workspace, where they add up in float32 with
// rounding, and start again from zero.
//
// float32 is split into two TF32 numbers as it is read; the three products of 16 positions start
// from zero, small ones first, and are added up with rounding.
//
// supports() guarantees: 32-bit counts and coordinates, a box within kMaxShared, all pairs of taps
// within the warps of a block.
#pragma once
#include <cstdint>

#include "cuda/common/tf32_split.cuh"
#include "cuda/few_channels/matrix_tile.cuh"

namespace convt3d::cuda::few_channels {

// float32 has half the positions where more do not fit, and one block of channels.
template <typename T>
__device__ __forceinline__ int box_positions(const MatrixSums& p) {
  return sizeof(T) == 4 ? p.tile[0] * p.tile[1] * p.tile[2] : kMatrixPositions;
}

// The input of a box, [eight channels][position].
template <typename T, int kBlocks>
__device__ __forceinline__ void stage_input(const MatrixSums& p, const Box& box, int first_in,
                                            int channels, int chunk_step, uint4* target) {
  constexpr int kChunks = kChunk / chunk_of(sizeof(T));
  const char* const source = static_cast<const char*>(p.input) + box.n * p.input_bytes[0] +
                             first_in * p.input_bytes[1] + box.first[0] * p.input_bytes[2] +
                             box.first[1] * p.input_bytes[3];
  const int lines = p.tile[0] * p.tile[1];
  const auto is_inside = [&](const Line& line) {
    return box.first[0] + line.d < p.input_extent[0] && box.first[1] + line.h < p.input_extent[1];
  };
  const auto step = [&](Line* line) { step_line(p.tile_spread, p.tile[1], line); };
  const auto body = [&](int unit, Line line) {
    if (sizeof(T) == 2 && kBlocks == 1 && p.quad_inputs) {
      const int w = box.first[2] + unit * 4, places = p.tile[2] - unit * 4;
      const unsigned bits = find_quad(w, p.input_extent[2]);
#pragma unroll 1
      for (; line.number < lines; step(&line)) {
        const auto store = [&](int i, const uint4& chunk) {
          if (i < places) target[line.number * p.tile[2] + unit * 4 + i] = chunk;
        };
        stage_quad<false>(source + line.bytes + int64_t{w} * 2, is_inside(line) ? bits : 0,
                          p.input_bytes[1], channels, store);
      }
      return;
    }
    // A second chunk is of the same channels, or of the group behind.
    const int own_w = p.together == 2 ? unit / 2 : unit, chunk = p.together == 2 ? unit % 2 : 0;
    const int w = box.first[2] + own_w, channel = chunk * chunk_of(sizeof(T));
    const bool there = w < p.input_extent[2];
    const char* const column = source + w * p.input_bytes[4] + channel * p.input_bytes[1];
#pragma unroll 1
    for (; line.number < lines; step(&line)) {
      const bool inside = there && is_inside(line);
#pragma unroll 1
      for (int block = 0; block < kBlocks; ++block) {
        const int left = channels - channel - block * kChunk;
        const int place = block * kMatrixPositions + line.number * p.tile[2] + own_w;
        uint4* const own = target + place * kChunks + chunk * chunk_step;
        const char* const from = column + line.bytes + block * kChunk * p.input_bytes[1];
        if (p.long_inputs) {
          copy_async<16>(shared_address(own), from, inside && left > 0 ? 16 : 0);
        } else {
          stage_chunk<T>(own, from, inside && left > 0, p.input_bytes[1], left);
        }
      }
    }
  };
  for_units(p.tile_spread, p.tile_units, p.by_tile[1], p.input_bytes, body);
}

// Which row of the product is which: row `eighth` of the upper (half 0) or lower eight rows is a
// tap of a pair and one of eight out channels. In float32 a lane's two rows are neighbouring
// channels, which one load brings.
struct Row {
  int tap, out;
};

template <typename T>
__device__ __forceinline__ Row row_of(int eighth, int half) {
  return sizeof(T) == 4 ? Row{eighth / 4, eighth % 4 * 2 + half} : Row{half, eighth};
}

// The sum over the slices of positions, in their order, to the workspace: `first` of this block, or
// added to what it has left there.
template <typename T, int kPairs, int kBlocks>
__device__ __forceinline__ void write_matrix_part(const MatrixSums& p, int group, int first_in,
                                                  int first_out, bool first, float* part,
                                                  float* exchange,
                                                  const float (&sum)[kPairs][kBlocks][4]) {
  constexpr int kSums = kPairs * kBlocks * 4;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int slices = kMatrixWarps / p.block_groups;  // of a group: of taps and positions
  const int tap_slice = warp % p.tap_slices, slice = warp % slices / p.tap_slices;
  float* const own = exchange + (warp / slices * p.tap_slices + tap_slice) * kSums * 32 + lane;
#pragma unroll 1
  for (int turn = 0; turn < slices / p.tap_slices; ++turn) {
    __syncthreads();  // the box is read; the previous slice is added
    if (turn != slice) continue;
#pragma unroll
    for (int s = 0; s < kSums; ++s) {
      const float value = sum[s / (4 * kBlocks)][s / 4 % kBlocks][s % 4];
      own[s * 32] = turn == 0 ? value : own[s * 32] + value;
    }
  }
  __syncthreads();  // the sums are complete
  const int own_sums = p.tap_slices * kSums * 32;
  for (int at = threadIdx.x; at < p.block_groups * own_sums; at += kMatrixThreads) {
    const int own_group = at >= own_sums ? 1 : 0;
    const int tap_slice_of = (at - own_group * own_sums) / (32 * kSums);
    const int of_lane = at % 32, s = at / 32 % kSums;
    const int pair = tap_slice_of + s / (4 * kBlocks) * p.tap_slices;
    const int in = first_in + s / 4 % kBlocks * kChunk + of_lane % 4 * 2 + s % 2;
    const Row row = row_of<T>(of_lane / 4, s % 4 / 2);
    const int tap = 2 * pair + row.tap, out = first_out + row.out;
    if (tap >= p.taps || in >= p.ins || out >= p.outs) continue;
    const int64_t channel = int64_t{group + own_group} * p.ins + in;
    float* const own = part + (channel * p.outs + out) * p.taps + tap;
    *own = first ? exchange[at] : *own + exchange[at];
  }
}

// float32: a split operand.
template <int n>
struct Split {
  uint32_t high[n], low[n];
};

// float32, 16 positions from `first` of the box on: K is four of them for each register of a lane.
template <int kPairs, int kBlocks>
__device__ __forceinline__ void add_split(const MatrixSums& p, const float* halo,
                                          const float* input, int first, int chunks, int own_pairs,
                                          const int (&offset)[kPairs],
                                          float (&sum)[kPairs][kBlocks][4]) {
  const int lane = threadIdx.x % 32;
  const float* place[2][2];
  Split<2> b[2][kBlocks];
#pragma unroll
  for (int step = 0; step < 2; ++step) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int position = first + step * 8 + half * 4 + lane % 4;
      place[step][half] = halo + chunk_of_position(p, position) * kChunk;
    }
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      if (block >= chunks) break;
      const float* const own =
          input + (block * kMatrixPositions + first + step * 8 + lane % 4) * kChunk + lane / 4;
      const uint32_t two[2] = {__float_as_uint(own[0]), __float_as_uint(own[4 * kChunk])};
      split_operand(two, b[step][block].high, b[step][block].low);
    }
  }
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    if (i >= own_pairs) break;
    Split<4> a[2];
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      uint32_t own[4];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto two = *reinterpret_cast<const uint2*>(place[step][half] + offset[i]);
        own[half * 2] = two.x, own[half * 2 + 1] = two.y;
      }
      split_operand(own, a[step].high, a[step].low);
    }
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      if (block >= chunks) break;
      float part[4] = {};
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        mma_sync<float>(part, a[step].low, b[step][block].high);
      }
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        mma_sync<float>(part, a[step].high, b[step][block].low);
      }
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        mma_sync<float>(part, a[step].high, b[step][block].high);
      }
#pragma unroll
      for (int s = 0; s < 4; ++s) sum[i][block][s] += part[s];
    }
  }
}

// Blocks on an SM. float32 would spill five registers on 10.0 and 12.0, 16 bits with one block of
// in channels eight on 8.0.
template <typename T, int kBlocks>
constexpr int kWeightBlocks = (sizeof(T) == 4 ? kArch >= 100 : kArch == 80 && kBlocks == 1) ? 1 : 2;

template <typename T, int kBlocks>
__global__ __launch_bounds__(kMatrixThreads, kWeightBlocks<T, kBlocks>) void matrix_weight_kernel(
    const __grid_constant__ MatrixSums p) {
  constexpr int kPairs = matrix_pairs(kBlocks);
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int halo_chunks = p.halo[0] * p.halo[1] * p.stride[2] * p.columns;
  const int weight_tiles = gridDim.x / p.splits;
  int group = blockIdx.x % weight_tiles;
  const int split = blockIdx.x / weight_tiles;
  const int first_out = divide(&group, p.by_out_chunks) * kChunk;
  const int first_in = divide(&group, p.by_in_tiles) * kBlocks * kChunk;
  const int chunks = min((p.ins - first_in + kChunk - 1) / kChunk, kBlocks);
  group *= p.block_groups;

  // Chunks of eight channels.
  constexpr int kChunks = kChunk / chunk_of(sizeof(T));
  uint4* const halo = shared;
  uint4* const input = shared + p.block_groups * halo_chunks * kChunks;
  const int slices = kMatrixWarps / (p.tap_slices * p.block_groups);  // of positions
  const int own_group = warp / (kMatrixWarps / p.block_groups);
  const int tap_slice = warp % p.tap_slices, slice = warp / p.tap_slices - own_group * slices;
  const uint32_t halo_address = shared_address(halo + own_group * halo_chunks);
  const uint32_t input_address = shared_address(input + own_group * kMatrixPositions);
  // Where the rows of a are that this lane addresses, eight positions of one tap of each pair: in
  // shared memory, as there are no registers for it while a box is staged.
  __shared__ int tap_chunks[2 * kPairs * kMatrixWarps];
  for (int tap = threadIdx.x; tap < 2 * kPairs * p.tap_slices; tap += kMatrixThreads) {
    tap_chunks[tap] = chunk_of_tap(p, tap);
  }
  const int own_pairs = (p.pairs - tap_slice + p.tap_slices - 1) / p.tap_slices;
  // Boxes of a chain: a warp has one instruction per pair and chunk for every 16 of its positions.
  // Computed where it is used: 8.6 has no register to keep it.
  const auto chain = [&] {
    return kMaxInstructions / (kMatrixPositions / 16) *
           (kMatrixWarps / (p.tap_slices * p.block_groups));
  };
  float sum[kPairs][kBlocks][4] = {};
  int summed = 0;  // boxes

#pragma unroll 1
  for (int index = split; index < p.boxes; index += p.splits) {
    const Box box = find_box(p, index);
    __syncthreads();  // all have read the previous box
    const bool two = p.block_groups == 2;
    stage_output<T, kChunks, kBlocks == 1>(p, box, group * p.outs + first_out,
                                           p.block_groups * p.outs - first_out,
                                           two ? halo_chunks : 1, kChunks, halo);
    stage_input<T, kBlocks>(p, box, group * p.ins + first_in, p.block_groups * p.ins - first_in,
                            two ? kMatrixPositions : 1, input);
    copies_commit();
    copies_wait<0>();
    __syncthreads();  // the box is there
    // In bytes; float32: with the channels of this lane's rows, in elements.
    int offset[kPairs];
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int* const pair = tap_chunks + 2 * (tap_slice + i * p.tap_slices);
      if constexpr (sizeof(T) == 4) {
        const Row row = row_of<T>(lane / 4, 0);
        offset[i] = pair[row.tap] * kChunk + row.out;
      } else {
        offset[i] = pair[lane / 8 % 2] * kChunkBytes;
      }
    }
#pragma unroll 1
    for (int step = slice; step < box_positions<T>(p) / 16; step += slices) {
      if constexpr (sizeof(T) == 4) {
        add_split<kPairs, kBlocks>(p, reinterpret_cast<const float*>(halo),
                                   reinterpret_cast<const float*>(input), step * 16, chunks,
                                   own_pairs, offset, sum);
      } else {
        uint32_t b[kBlocks][2];
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          if (block >= chunks) break;
          load_two_matrices_transposed(
              b[block], input_address + (block * kMatrixPositions + step * 16 + lane % 16) * 16);
        }
        const uint32_t base =
            halo_address + chunk_of_position(p, step * 16 + lane / 16 * 8 + lane % 8) * 16;
#pragma unroll
        for (int i = 0; i < kPairs; ++i) {
          if (i >= own_pairs) break;
          uint32_t a[4];
          load_matrices_transposed(a, base + offset[i]);
#pragma unroll
          for (int block = 0; block < kBlocks; ++block) {
            if (block >= chunks) break;
            mma_sync<T>(sum[i][block], a, b[block]);
          }
        }
      }
    }
    if (++summed < chain() && index + p.splits < p.boxes) continue;
    const bool first = index - split < chain() * p.splits;
    write_matrix_part<T, kPairs, kBlocks>(p, group, first_in, first_out, first,
                                          p.parts + split * p.weights,
                                          reinterpret_cast<float*>(shared), sum);
#pragma unroll
    for (int s = 0; s < kPairs * kBlocks * 4; ++s) {
      sum[s / (4 * kBlocks)][s / 4 % kBlocks][s % 4] = 0;
    }
    summed = 0;
  }
}

}  // namespace convt3d::cuda::few_channels
