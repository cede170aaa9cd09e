// SPDX-License-Identifier: BSD-3-Clause
// grad_input on the tensor cores.
//
//   input[n, ci, i] = sum over co, t of output[n, co, s*i + d*t - p] * weight[ci, co, t]
//
// M: 16 positions, N: eight in channels, K: a chunk of out channels of two taps. A warp has
// kRows times 16 positions and kBlocks times eight in channels. grad_output is read in place for
// every tap (matrix_tile.cuh); the weights of a block wait in shared memory, [out chunk][tap][in
// channel], a row of 16 bytes of out channels for each in channel.
//
// float32: operands are split into two TF32 numbers as they are read. The tensor cores truncate as
// they add, so the three products of a pair of taps start from zero, small ones first, and are
// added up with rounding. Results that splitting may have spoilt are summed again by the formula.
//
//        warp 0   warp 1  ...            block: a box of positions of one group, all taps
//       +--------+--------+
//       | 2 x 16 | 2 x 16 |              loop over chunks of out channels: stage, multiply
//       +--------+--------+
//
// In 32 bits all of it comes by cp.async: what is staged is the chunk, or box, after the one that
// is multiplied, where shared memory holds two.
//
// supports() guarantees: 32-bit counts and coordinates, box and weights within kMaxShared.
#pragma once
#include <cstdint>

#include "cuda/common/doubtful.cuh"
#include "cuda/common/element.cuh"
#include "cuda/common/tf32_split.cuh"
#include "cuda/few_channels/matrix_tile.cuh"

namespace convt3d::cuda::few_channels {

constexpr int kRows = kMatrixPositions / (16 * kMatrixWarps);
// float32: pairs of taps that are added up before they are added to the total; the error grows with
// the root of the additions in a row.
constexpr int kRun = 8;

// The weights of kBlocks chunks of in channels from `first_in` of a group on; zeros beyond them,
// and for the tap that completes a pair.
template <Precision kPrecision, int kBlocks>
__device__ __forceinline__ void stage_weights(const MatrixSums& p, int group, int first_in,
                                              ElementOf<kPrecision>* weights) {
  using T = ElementOf<kPrecision>;
  constexpr int kOuts = chunk_of(sizeof(T)), kOfTap = kBlocks * kChunk * kOuts;
  const int count = p.out_chunks * 2 * p.pairs * kOfTap;
  for (int at = threadIdx.x; at < count; at += kMatrixThreads) {
    const int of_tap = at % kOfTap;
    int out = of_tap % kOuts, in = first_in + of_tap / kOuts;
    int chunk = at / kOfTap;
    const int tap = chunk % (2 * p.pairs);
    out += chunk / (2 * p.pairs) * kOuts;
    T value = narrow<T>(0.0f);
    if (tap < p.taps && in < p.ins && out < p.outs) {
      int rest = tap;
      const int w = divide(&rest, p.by_kernel[2]), h = divide(&rest, p.by_kernel[1]);
      value = static_cast<const T*>(
          p.weight)[(int64_t{group} * p.ins + in) * p.weight_stride[0] + out * p.weight_stride[1] +
                    rest * p.weight_stride[2] + h * p.weight_stride[3] + w * p.weight_stride[4]];
    }
    if constexpr (kPrecision == Precision::tf32) value = round_to_tf32(value);
    weights[at] = value;
  }
}

// One result by its formula.
__device__ __forceinline__ float sum_alone(const MatrixSums& p, int n, const int (&at)[3],
                                           int group, int in) {
  const auto* const weight =
      static_cast<const float*>(p.weight) + (int64_t{group} * p.ins + in) * p.weight_stride[0];
  const char* const output = static_cast<const char*>(p.output) + n * p.output_bytes[0] +
                             group * p.outs * p.output_bytes[1];
  float sum = 0;
#pragma unroll 1
  for (int tap = 0; tap < p.taps; ++tap) {
    int rest = tap, of_axis[3];
    of_axis[2] = divide(&rest, p.by_kernel[2]);
    of_axis[1] = divide(&rest, p.by_kernel[1]);
    of_axis[0] = rest;
    const char* source = output;
    const float* factor = weight;
    bool inside = true;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      const int own =
          at[axis] * p.stride[axis] + of_axis[axis] * p.dilation[axis] - p.padding[axis];
      inside = inside && within(own, p.output_extent[axis]);
      source += own * p.output_bytes[2 + axis];
      factor += of_axis[axis] * p.weight_stride[2 + axis];
    }
    if (!inside) continue;
#pragma unroll 1
    for (int out = 0; out < p.outs; ++out) {
      sum = fmaf(*reinterpret_cast<const float*>(source + out * p.output_bytes[1]),
                 factor[out * p.weight_stride[1]], sum);
    }
  }
  return sum;
}

// A position of a box, and whether it is inside.
struct Position {
  int at[3];
  bool inside;
};

__device__ __forceinline__ Position find_position(const MatrixSums& p, const Box& box,
                                                  int position) {
  Position place;
  place.inside = true;
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    const int own = axis > 0 ? divide(&position, p.by_tile[axis]) : position;
    place.at[axis] = box.first[axis] + own;
    place.inside = place.inside && within(place.at[axis], p.input_extent[axis]);
  }
  return place;
}

// Where the result's channel `in` of a group lies at a position.
template <typename T>
__device__ __forceinline__ T* find_result(const MatrixSums& p, int n, const int (&at)[3], int group,
                                          int in) {
  return static_cast<T*>(p.result) + n * p.input_stride[0] + at[0] * p.input_stride[2] +
         at[1] * p.input_stride[3] + at[2] * p.input_stride[4] +
         (int64_t{group} * p.ins + in) * p.input_stride[1];
}

template <Precision kPrecision, int kBlocks>
__global__ __launch_bounds__(kMatrixThreads,
                             2) void matrix_input_kernel(const __grid_constant__ MatrixSums p) {
  using T = ElementOf<kPrecision>;
  constexpr int kOuts = chunk_of(sizeof(T));
  constexpr bool kSplit = kPrecision == Precision::fp32;
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int halo_chunks = p.halo[0] * p.halo[1] * p.stride[2] * p.columns;
  const int weight_tiles = gridDim.x / p.splits;
  int group = blockIdx.x % weight_tiles;
  const int split = blockIdx.x / weight_tiles;
  const int first_in = divide(&group, p.by_in_tiles) * kBlocks * kChunk;
  const int chunks = min((p.ins - first_in + kChunk - 1) / kChunk, kBlocks);

  uint4* const halo = shared;
  T* const weights = reinterpret_cast<T*>(shared + p.buffers * halo_chunks);
  int* const offsets =
      reinterpret_cast<int*>(weights + p.out_chunks * 2 * p.pairs * kBlocks * kChunk * kOuts);
  stage_weights<kPrecision, kBlocks>(p, group, first_in, weights);
  for (int tap = threadIdx.x; tap < 2 * p.pairs; tap += kMatrixThreads) {
    offsets[tap] = chunk_of_tap(p, tap);
  }
  // Rows of a that this lane addresses: 16 positions of one tap of the pair.
  int base[kRows];
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    base[row] = chunk_of_position(p, (warp * kRows + row) * 16 + lane % 16);
  }
  // Rows of b: an in channel of one tap of the pair; lanes from 16 on repeat them.
  const uint32_t weight_address =
      shared_address(weights) + (lane / 8 % 2 * kBlocks * kChunk + lane % 8) * 16;

  int next = split, next_chunk = 0;
  const auto stage_next = [&](uint4* target) {
    if (next < p.boxes) {
      stage_output<T, 1, kSplit ? 4 : 2, true>(p, find_box(p, next),
                                               group * p.outs + next_chunk * kOuts,
                                               p.outs - next_chunk * kOuts, target);
    }
    if (++next_chunk == p.out_chunks) next_chunk = 0, next += p.splits;
    copies_commit();
  };
  const bool ahead = sizeof(T) == 4 && p.buffers == 2;
  int buffer = 0;
  if (ahead) stage_next(halo);

#pragma unroll 1
  for (int index = split; index < p.boxes; index += p.splits) {
    const Box box = find_box(p, index);
    float sum[kRows][kBlocks][4] = {};
    // float32: what earlier runs of pairs have left.
    float total[kSplit ? kRows : 1][kBlocks][4] = {};
    const auto add_run = [&] {
#pragma unroll
      for (int i = 0; i < kRows * kBlocks * 4; ++i) {
        float& of_run = sum[i / (4 * kBlocks)][i / 4 % kBlocks][i % 4];
        total[i / (4 * kBlocks)][i / 4 % kBlocks][i % 4] += of_run;
        of_run = 0;
      }
    };
#pragma unroll 1
    for (int out_chunk = 0; out_chunk < p.out_chunks; ++out_chunk) {
      // All have read what lay there before; weights and offsets are there.
      __syncthreads();
      if (ahead) {
        stage_next(halo + (buffer ^ 1) * halo_chunks);
        copies_wait<1>();
      } else {
        stage_next(halo);
        copies_wait<0>();
      }
      __syncthreads();  // the part of grad_output is there
      const uint32_t halo_address = shared_address(halo + buffer * halo_chunks);
      if (ahead) buffer ^= 1;
#pragma unroll 2
      for (int pair = 0; pair < p.pairs; ++pair) {
        if (kSplit && pair % kRun == 0) add_run();
        const int offset = offsets[2 * pair + lane / 16];
        const uint32_t row_address =
            weight_address + (out_chunk * p.pairs + pair) * 2 * kBlocks * kChunk * 16;
        uint32_t a[kRows][4], low_a[kRows][4];
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
          uint32_t own[4];
          load_matrices(own, halo_address + (base[row] + offset) * 16);
          if constexpr (kSplit) {
            split_operand(own, a[row], low_a[row]);
          } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              a[row][i] = kPrecision == Precision::tf32 ? round_to_tf32(own[i]) : own[i];
            }
          }
        }
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          if (block >= chunks) break;
          uint32_t b[2];
          load_two_matrices(b, row_address + block * kChunk * 16);
          if constexpr (kSplit) {
            uint32_t high_b[2], low_b[2];
            split_operand(b, high_b, low_b);
            float part[kRows][4] = {};
#pragma unroll
            for (int row = 0; row < kRows; ++row) mma_sync<T>(part[row], low_a[row], high_b);
#pragma unroll
            for (int row = 0; row < kRows; ++row) mma_sync<T>(part[row], a[row], low_b);
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
              mma_sync<T>(part[row], a[row], high_b);
#pragma unroll
              for (int i = 0; i < 4; ++i) sum[row][block][i] += part[row][i];
            }
          } else {
#pragma unroll
            for (int row = 0; row < kRows; ++row) mma_sync<T>(sum[row][block], a[row], b);
          }
        }
      }
    }
    if constexpr (kSplit) add_run();
    // Lane: positions lane / 4 and 8 more, in channels 2 * (lane % 4) and the next.
    unsigned doubtful = 0;  // a bit for each sum
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int position = (warp * kRows + row) * 16 + half * 8 + lane / 4;
        const Position place = find_position(p, box, position);
        if (!place.inside) continue;
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          const int in = first_in + block * kChunk + lane % 4 * 2;
          const float* pair = (kSplit ? total[kSplit ? row : 0] : sum[row])[block] + half * 2;
          T* const target = find_result<T>(p, box.n, place.at, group, in);
          if constexpr (kSplit) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
              const int bit = ((row * 2 + half) * kBlocks + block) * 2 + i;
              doubtful |= in + i < p.ins && is_doubtful(pair[i]) ? 1u << bit : 0u;
            }
          }
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
    if constexpr (kSplit) {
#pragma unroll 1
      for (; doubtful != 0; doubtful &= doubtful - 1) {
        const int bit = __ffs(static_cast<int>(doubtful)) - 1;
        const int in = first_in + bit / 2 % kBlocks * kChunk + lane % 4 * 2 + bit % 2;
        const int eight = bit / (2 * kBlocks);  // positions: of a row, and its half
        const Position place = find_position(p, box, (warp * kRows * 2 + eight) * 8 + lane / 4);
        *find_result<T>(p, box.n, place.at, group, in) = sum_alone(p, box.n, place.at, group, in);
      }
    }
  }
}

}  // namespace convt3d::cuda::few_channels
