// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of 16-bit tensors on the tensor cores.
//
//   weight[ci, co, t] = sum over n, i of input[n, ci, i] * output[n, co, s*i + d*t - p]
//
// M: a chunk of out channels of two taps, N: a chunk of in channels, K: 16 positions. Both operands
// lie with positions as rows and are transposed as they are loaded. A warp keeps up to kPairs pairs
// of taps and kBlocks chunks of in channels; warps have other taps, or other positions:
//
//            taps ->
//   position +--------+--------+        tap_slices = 2: warps 0 and 1 have the two halves of the
//     slice  | warp 0 | warp 1 |        taps, warps 2 and 3 the same for the next 16 positions
//     |      +--------+--------+
//     v      | warp 2 | warp 3 |        the slices of positions are added in order
//            +--------+--------+
//
// The tensor cores truncate as they add, so no sum runs through more than kMaxInstructions of them:
// after so many, sums go to this block's part in the workspace, where they add up in float32 with
// rounding, and start again from zero.
//
// supports() guarantees: 32-bit counts and coordinates, a box within kMaxShared, all pairs of taps
// within the warps of a block.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/few_channels/matrix_tile.cuh"

namespace convt3d::cuda::few_channels {

// The input of a box, [chunk][position].
template <typename T, int kBlocks>
__device__ __forceinline__ void stage_input(const MatrixSums& p, const Box& box, int first_in,
                                            int channels, uint4* target) {
  const char* const source = static_cast<const char*>(p.input) + box.n * p.input_bytes[0];
  if (kBlocks == 1 && p.quad_inputs) {  // registers
    const int quads = p.tile[0] * p.tile[1] * p.tile_quads;
#pragma unroll 1
    for (int at = threadIdx.x; at < quads; at += kMatrixThreads) {
      int rest = at;
      const int own_w = divide(&rest, p.by_tile_quads) * 4, w = box.first[2] + own_w;
      uint4* const line = target + rest * p.tile[2] + own_w;
      const int h = box.first[1] + divide(&rest, p.by_tile[1]), d = box.first[0] + rest;
      const bool inside = within(d, p.input_extent[0]) && within(h, p.input_extent[1]);
      const auto store = [&](int i, const uint4& chunk) {
        if (own_w + i < p.tile[2]) line[i] = chunk;
      };
      stage_quad(source + first_in * p.input_bytes[1] + d * p.input_bytes[2] +
                     h * p.input_bytes[3] + int64_t{w} * 2,
                 inside, w, p.input_extent[2], p.input_bytes[1], channels, store);
    }
    return;
  }
#pragma unroll 1
  for (int at = threadIdx.x; at < kBlocks * kMatrixPositions; at += kMatrixThreads) {
    const int block = at / kMatrixPositions;
    int position = at % kMatrixPositions;
    const int w = box.first[2] + divide(&position, p.by_tile[2]);
    const int h = box.first[1] + divide(&position, p.by_tile[1]);
    const int d = box.first[0] + position;
    const bool there = within(w, p.input_extent[2]) && within(h, p.input_extent[1]) &&
                       within(d, p.input_extent[0]) && block * kChunk < channels;
    stage_chunk<T>(target + at,
                   source + (first_in + block * kChunk) * p.input_bytes[1] + d * p.input_bytes[2] +
                       h * p.input_bytes[3] + w * p.input_bytes[4],
                   there, p.input_bytes[1], channels - block * kChunk, p.long_inputs);
  }
}

// The sum over the slices of positions, in their order, to the workspace: `first` of this block, or
// added to what it has left there.
template <int kPairs, int kBlocks>
__device__ __forceinline__ void write_matrix_part(const MatrixSums& p, int group, int first_in,
                                                  int first_out, bool first, float* part,
                                                  float* exchange,
                                                  const float (&sum)[kPairs][kBlocks][4]) {
  constexpr int kSums = kPairs * kBlocks * 4;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int tap_slice = warp % p.tap_slices, slice = warp / p.tap_slices;
  float* const own = exchange + tap_slice * kSums * 32 + lane;
#pragma unroll 1
  for (int turn = 0; turn < kMatrixWarps / p.tap_slices; ++turn) {
    __syncthreads();  // the box is read; the previous slice is added
    if (turn != slice) continue;
#pragma unroll
    for (int s = 0; s < kSums; ++s) {
      const float value = sum[s / (4 * kBlocks)][s / 4 % kBlocks][s % 4];
      own[s * 32] = turn == 0 ? value : own[s * 32] + value;
    }
  }
  __syncthreads();  // the sums are complete
  for (int at = threadIdx.x; at < p.tap_slices * kSums * 32; at += kMatrixThreads) {
    const int of_lane = at % 32, s = at / 32 % kSums, tap_slice_of = at / (32 * kSums);
    const int pair = tap_slice_of + s / (4 * kBlocks) * p.tap_slices;
    const int tap = 2 * pair + s % 4 / 2;
    const int in = first_in + s / 4 % kBlocks * kChunk + of_lane % 4 * 2 + s % 2;
    const int out = first_out + of_lane / 4;
    if (tap >= p.taps || in >= p.ins || out >= p.outs) continue;
    float* const own = part + ((int64_t{group} * p.ins + in) * p.outs + out) * p.taps + tap;
    *own = first ? exchange[at] : *own + exchange[at];
  }
}

template <typename T, int kBlocks>
__global__ __launch_bounds__(kMatrixThreads,
                             2) void matrix_weight_kernel(const __grid_constant__ MatrixSums p) {
  constexpr int kPairs = matrix_pairs(kBlocks);
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int halo_chunks = p.halo[0] * p.halo[1] * p.scale[2] * p.columns;
  const int weight_tiles = gridDim.x / p.splits;
  int group = blockIdx.x % weight_tiles;
  const int split = blockIdx.x / weight_tiles;
  const int first_out = divide(&group, p.by_out_chunks) * kChunk;
  const int first_in = divide(&group, p.by_in_tiles) * kBlocks * kChunk;
  const int chunks = min((p.ins - first_in + kChunk - 1) / kChunk, kBlocks);

  uint4* const halo = shared;
  uint4* const input = shared + halo_chunks;
  const uint32_t halo_address = shared_address(halo), input_address = shared_address(input);
  const int tap_slice = warp % p.tap_slices, slice = warp / p.tap_slices;
  const int slices = kMatrixWarps / p.tap_slices;
  // Rows of a that this lane addresses: eight positions of one tap of each pair.
  int offset[kPairs];
  int own_pairs = 0;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int pair = tap_slice + i * p.tap_slices;
    offset[i] = chunk_of_tap(p, 2 * pair + lane / 8 % 2) * 16;
    if (pair < p.pairs) own_pairs = i + 1;
  }
  // Boxes of a chain: a warp has one instruction per pair and chunk for every 16 of its positions.
  // Computed where it is used: 8.6 has no register to keep it.
  const auto chain = [&] {
    return kMaxInstructions / (kMatrixPositions / 16) * (kMatrixWarps / p.tap_slices);
  };
  float sum[kPairs][kBlocks][4] = {};
  int summed = 0;  // boxes

#pragma unroll 1
  for (int index = split; index < p.boxes; index += p.splits) {
    const Box box = find_box(p, index);
    __syncthreads();  // all have read the previous box
    stage_output<T, 1, kBlocks == 1>(p, box, group * p.outs + first_out, p.outs - first_out, halo);
    stage_input<T, kBlocks>(p, box, group * p.ins + first_in, p.ins - first_in, input);
    copies_commit();
    copies_wait<0>();
    __syncthreads();  // the box is there
#pragma unroll 1
    for (int step = slice; step < kMatrixPositions / 16; step += slices) {
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
    if (++summed < chain() && index + p.splits < p.boxes) continue;
    const bool first = index - split < chain() * p.splits;
    write_matrix_part<kPairs, kBlocks>(p, group, first_in, first_out, first,
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
