// SPDX-License-Identifier: BSD-3-Clause
// grad_input of 16-bit tensors on the tensor cores.
//
//   input[n, ci, i] = sum over co, t of output[n, co, s*i + d*t - p] * weight[ci, co, t]
//
// M: 16 positions, N: a chunk of in channels, K: a chunk of out channels of two taps. A warp has
// kRows times 16 positions and kBlocks chunks of in channels. grad_output is read in place for
// every tap (matrix_tile.cuh); the weights of a block wait in shared memory, [out chunk][tap][in
// chunk], a row of eight out channels for each in channel.
//
//        warp 0   warp 1  ...            block: a box of positions of one group, all taps
//       +--------+--------+
//       | 2 x 16 | 2 x 16 |              loop over chunks of out channels: stage, multiply
//       +--------+--------+
//
// supports() guarantees: 32-bit counts and coordinates, box and weights within kMaxShared.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/few_channels/matrix_tile.cuh"

namespace convt3d::cuda::few_channels {

constexpr int kRows = kMatrixPositions / (16 * kMatrixWarps);

// The weights of kBlocks chunks of in channels from `first_in` of a group on; zeros beyond them,
// and for the tap that completes a pair.
template <typename T, int kBlocks>
__device__ __forceinline__ void stage_weights(const MatrixSums& p, int group, int first_in,
                                              T* weights) {
  constexpr int kOfTap = kBlocks * kChunk * kChunk;
  const int count = p.out_chunks * 2 * p.pairs * kOfTap;
  for (int at = threadIdx.x; at < count; at += kMatrixThreads) {
    const int of_tap = at % kOfTap;
    int out = of_tap % kChunk, in = first_in + of_tap / kChunk;
    int chunk = at / kOfTap;
    const int tap = chunk % (2 * p.pairs);
    out += chunk / (2 * p.pairs) * kChunk;
    T value = narrow<T>(0.0f);
    if (tap < p.taps && in < p.ins && out < p.outs) {
      int rest = tap;
      const int w = divide(&rest, p.by_kernel[2]), h = divide(&rest, p.by_kernel[1]);
      value = static_cast<const T*>(
          p.weight)[(int64_t{group} * p.ins + in) * p.weight_stride[0] + out * p.weight_stride[1] +
                    rest * p.weight_stride[2] + h * p.weight_stride[3] + w * p.weight_stride[4]];
    }
    weights[at] = value;
  }
}

template <typename T, int kBlocks>
__global__ __launch_bounds__(kMatrixThreads,
                             2) void matrix_input_kernel(const __grid_constant__ MatrixSums p) {
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int halo_chunks = p.halo[0] * p.halo[1] * p.scale[2] * p.columns;
  const int weight_tiles = gridDim.x / p.splits;
  int group = blockIdx.x % weight_tiles;
  const int split = blockIdx.x / weight_tiles;
  const int first_in = divide(&group, p.by_in_tiles) * kBlocks * kChunk;
  const int chunks = min((p.ins - first_in + kChunk - 1) / kChunk, kBlocks);

  uint4* const halo = shared;
  T* const weights = reinterpret_cast<T*>(shared + halo_chunks);
  int* const offsets =
      reinterpret_cast<int*>(weights + p.out_chunks * 2 * p.pairs * kBlocks * kChunk * kChunk);
  stage_weights<T, kBlocks>(p, group, first_in, weights);
  for (int tap = threadIdx.x; tap < 2 * p.pairs; tap += kMatrixThreads) {
    offsets[tap] = chunk_of_tap(p, tap);
  }
  // Rows of a that this lane addresses: 16 positions of one tap of the pair.
  int base[kRows];
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    base[row] = chunk_of_position(p, (warp * kRows + row) * 16 + lane % 16);
  }
  const uint32_t halo_address = shared_address(halo);
  // Rows of b: an in channel of one tap of the pair; lanes from 16 on repeat them.
  const uint32_t weight_address =
      shared_address(weights) + (lane / 8 % 2 * kBlocks * kChunk + lane % 8) * 16;

#pragma unroll 1
  for (int index = split; index < p.boxes; index += p.splits) {
    const Box box = find_box(p, index);
    float sum[kRows][kBlocks][4] = {};
#pragma unroll 1
    for (int out_chunk = 0; out_chunk < p.out_chunks; ++out_chunk) {
      __syncthreads();  // all have read the previous box; weights and offsets are there
      stage_output<T, 2, true>(p, box, group * p.outs + out_chunk * kChunk,
                               p.outs - out_chunk * kChunk, halo);
      copies_commit();
      copies_wait<0>();
      __syncthreads();  // the box is there
#pragma unroll 2
      for (int pair = 0; pair < p.pairs; ++pair) {
        const int offset = offsets[2 * pair + lane / 16];
        const uint32_t row_address =
            weight_address + (out_chunk * p.pairs + pair) * 2 * kBlocks * kChunk * 16;
        uint32_t a[kRows][4];
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
          load_matrices(a[row], halo_address + (base[row] + offset) * 16);
        }
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          if (block >= chunks) break;
          uint32_t b[2];
          load_two_matrices(b, row_address + block * kChunk * 16);
#pragma unroll
          for (int row = 0; row < kRows; ++row) mma_sync<T>(sum[row][block], a[row], b);
        }
      }
    }
    // Lane: positions lane / 4 and 8 more, in channels 2 * (lane % 4) and the next.
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int position = (warp * kRows + row) * 16 + half * 8 + lane / 4;
        const int w = box.first[2] + divide(&position, p.by_tile[2]);
        const int h = box.first[1] + divide(&position, p.by_tile[1]);
        const int d = box.first[0] + position;
        if (!within(w, p.input_extent[2]) || !within(h, p.input_extent[1]) ||
            !within(d, p.input_extent[0])) {
          continue;
        }
        T* const own = static_cast<T*>(p.result) + box.n * p.input_stride[0] +
                       d * p.input_stride[2] + h * p.input_stride[3] + w * p.input_stride[4];
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          const int in = first_in + block * kChunk + lane % 4 * 2;
          const float* pair = sum[row][block] + half * 2;
          T* const target = own + (int64_t{group} * p.ins + in) * p.input_stride[1];
          if (p.long_inputs && in + 1 < p.ins) {
            Vector<T, 2> values{{narrow<T>(pair[0]), narrow<T>(pair[1])}};
            *reinterpret_cast<Vector<T, 2>*>(target) = values;
            continue;
          }
          if (in < p.ins) target[0] = narrow<T>(pair[0]);
          if (in + 1 < p.ins) target[p.input_stride[1]] = narrow<T>(pair[1]);
        }
      }
    }
  }
}

}  // namespace convt3d::cuda::few_channels
