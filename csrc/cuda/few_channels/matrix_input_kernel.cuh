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
// they add, so the three products of two pairs of taps start from zero, small ones first, and are
// added up with rounding. Results that splitting may have spoilt are summed again by the formula.
//
//        warp 0   warp 1  ...            block: a box of positions of one group, all taps
//       +--------+--------+
//       | 2 x 16 | 2 x 16 |              loop over chunks of out channels: stage, multiply
//       +--------+--------+
//
// In 32 bits all of it comes by cp.async, and shared memory holds two chunks: both of a sector of
// memory are staged at once (NDHWC), else what is staged is the chunk, or box, after the one that
// is multiplied.
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
// Pairs of taps that are multiplied at once: choose_matrix() rounds their number up.
constexpr int kStep = 2;
// float32: pairs of taps that are added up before they are added to the total; the error grows with
// the root of the additions in a row.
constexpr int kRun = 8;

// The weights of kBlocks chunks of in channels from `first_in` of a group on, and of the groups
// behind it; zeros beyond them, and for the tap that completes a pair.
template <Precision kPrecision, int kBlocks>
__device__ __forceinline__ void stage_weights(const MatrixSums& p, int group, int first_in,
                                              ElementOf<kPrecision>* weights) {
  using T = ElementOf<kPrecision>;
  constexpr int kOuts = chunk_of(sizeof(T)), kOfTap = kBlocks * kChunk * kOuts;
  const int count = p.block_groups * p.out_chunks * 2 * p.pairs * kOfTap;
  for (int at = threadIdx.x; at < count; at += kMatrixThreads) {
    const int of_tap = at % kOfTap;
    int out = of_tap % kOuts, in = first_in + of_tap / kOuts;
    int chunk = at / kOfTap;
    const int tap = chunk % (2 * p.pairs);
    chunk /= 2 * p.pairs;
    const int own = p.block_groups == 2 ? chunk : 0;
    out += (chunk - own) * kOuts;
    T value = narrow<T>(0.0f);
    if (tap < p.taps && in < p.ins && out < p.outs) {
      int rest = tap;
      const int w = divide(&rest, p.by_kernel[2]), h = divide(&rest, p.by_kernel[1]);
      value = static_cast<const T*>(
          p.weight)[((int64_t{group} + own) * p.ins + in) * p.weight_stride[0] +
                    out * p.weight_stride[1] + rest * p.weight_stride[2] + h * p.weight_stride[3] +
                    w * p.weight_stride[4]];
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

// Where the result's channel 0 lies at a position, in elements; -1 outside.
__device__ __forceinline__ int64_t find_result(const MatrixSums& p, const Box& box, int position) {
  const Position place = find_position(p, box, position);
  const int64_t offset = box.n * p.input_stride[0] + place.at[0] * p.input_stride[2] +
                         place.at[1] * p.input_stride[3] + place.at[2] * p.input_stride[4];
  return place.inside ? offset : -1;
}

// The results of a warp, from the registers of mma.sync: lane has positions lane / 4 and 8 more, in
// channels 2 * (lane % 4) and the next. `plane` is added to the offsets in results[].
template <Precision kPrecision, int kBlocks, int kSums>
__device__ __forceinline__ void store_results(const MatrixSums& p, const Box& box, int group,
                                              int first_in, const int64_t* results, int plane,
                                              const float (&value)[kSums][kBlocks][4]) {
  using T = ElementOf<kPrecision>;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  T* const result = static_cast<T*>(p.result) + int64_t{group} * p.ins * p.input_stride[1] +
                    plane * p.input_stride[2];
  [[maybe_unused]] AnyDoubtful<> any;
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t offset = results[(warp * kRows + row) * 16 + half * 8 + lane / 4];
      if (offset < 0) continue;
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        const int in = first_in + block * kChunk + lane % 4 * 2;
        if (in >= p.ins) break;
        const float first = value[row][block][half * 2], second = value[row][block][half * 2 + 1];
        const bool two = in + 1 < p.ins;
        if constexpr (kSplit) {
          any.see(first);
          if (two) any.see(second);
        }
        T* const target = result + offset + in * p.input_stride[1];
        if (p.long_inputs && two) {
          Vector<T, 2> values{{narrow<T>(first), narrow<T>(second)}};
          *reinterpret_cast<Vector<T, 2>*>(target) = values;
          continue;
        }
        target[0] = narrow<T>(first);
        if (two) target[p.input_stride[1]] = narrow<T>(second);
      }
    }
  }
  if constexpr (kSplit) {
    if (!any.found()) return;
    unsigned doubtful = 0;  // a bit for each sum
#pragma unroll
    for (int bit = 0; bit < kRows * 4 * kBlocks; ++bit) {
      const int eight = bit / (2 * kBlocks);  // positions: of a row, and its half
      const float sum = value[eight / 2][bit / 2 % kBlocks][eight % 2 * 2 + bit % 2];
      doubtful |= is_doubtful(sum) ? 1u << bit : 0u;
    }
#pragma unroll 1
    for (; doubtful != 0; doubtful &= doubtful - 1) {
      const int bit = __ffs(static_cast<int>(doubtful)) - 1;
      const int in = first_in + bit / 2 % kBlocks * kChunk + lane % 4 * 2 + bit % 2;
      const int position = (warp * kRows * 2 + bit / (2 * kBlocks)) * 8 + lane / 4;
      if (in >= p.ins || results[position] < 0) continue;
      Position place = find_position(p, box, position);
      place.at[0] += plane;
      result[results[position] + in * p.input_stride[1]] = sum_alone(p, box.n, place.at, group, in);
    }
  }
}

// Blocks on an SM: registers.
template <typename T, int kBlocks>
constexpr int kInputBlocks = kArch == 90 && sizeof(T) == 2 && kBlocks == 1 ? 3 : 2;

template <Precision kPrecision, int kBlocks>
__global__ __launch_bounds__(
    kMatrixThreads,
    kInputBlocks<ElementOf<kPrecision>, kBlocks>) void matrix_input_kernel(const __grid_constant__
                                                                               MatrixSums p) {
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
  group *= p.block_groups;
  const int block_chunks = p.block_groups * p.out_chunks;

  uint4* const halo = shared;
  T* const weights = reinterpret_cast<T*>(shared + p.buffers * halo_chunks);
  int* const offsets =
      reinterpret_cast<int*>(weights + block_chunks * 2 * p.pairs * kBlocks * kChunk * kOuts);
  auto* const results = reinterpret_cast<int64_t*>(offsets + 2 * p.pairs);  // of the box
  stage_weights<kPrecision, kBlocks>(p, group, first_in, weights);
  for (int tap = threadIdx.x; tap < 2 * p.pairs; tap += kMatrixThreads) {
    offsets[tap] = chunk_of_tap(p, tap) * kChunkBytes;
  }
  // Rows of a that this lane addresses, in bytes: 16 positions of one tap of the pair.
  uint32_t base[kRows];
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    base[row] = shared_address(halo + chunk_of_position(p, (warp * kRows + row) * 16 + lane % 16));
  }
  // Rows of b: an in channel of one tap of the pair; lanes from 16 on repeat them.
  const uint32_t weight_address =
      shared_address(weights) + (lane / 8 % 2 * kBlocks * kChunk + lane % 8) * 16;

  int next = split, next_chunk = 0;
  const auto stage_next = [&](uint4* target) {
    if (next < p.boxes) {
      stage_output<T, kSplit ? 4 : 2, true>(
          p, find_box(p, next), group * p.outs + next_chunk * kOuts,
          p.block_groups * p.outs - next_chunk * kOuts, halo_chunks, 1, target);
    }
    next_chunk += p.together;
    if (next_chunk == block_chunks) next_chunk = 0, next += p.splits;
    copies_commit();
  };
  const bool ahead = sizeof(T) == 4 && p.buffers == 2 && p.together == 1;
  int buffer = 0;
  if (ahead) stage_next(halo);

#pragma unroll 1
  for (int index = split; index < p.boxes; index += p.splits) {
    const Box box = find_box(p, index);
#pragma unroll 1
    for (int own_group = 0; own_group < p.block_groups; ++own_group) {
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
      for (int of_group = 0; of_group < p.out_chunks; ++of_group) {
        const int out_chunk = own_group * p.out_chunks + of_group;
        const bool second = p.together == 2 && out_chunk % 2 != 0;  // it came with the one before
        if (!second) {
          // All have read what lay there before; weights and offsets are there.
          __syncthreads();
          static_assert(kMatrixPositions == kMatrixThreads);
          if (of_group == 0) results[threadIdx.x] = find_result(p, box, threadIdx.x);
          if (ahead) {
            stage_next(halo + (buffer ^ 1) * halo_chunks);
            copies_wait<1>();
          } else {
            stage_next(halo);
            copies_wait<0>();
          }
          __syncthreads();  // the part of grad_output is there
        }
        const uint32_t own_halo = (ahead ? buffer : second ? 1 : 0) * halo_chunks * kChunkBytes;
        if (ahead) buffer ^= 1;
        constexpr int kPairRows = 2 * kBlocks * kChunk;
        uint32_t row_address = weight_address + out_chunk * p.pairs * kPairRows * kChunkBytes;
#pragma unroll 1
        for (int pair = 0; pair < p.pairs; pair += kStep) {
          if (kSplit && pair % kRun == 0) add_run();
          uint32_t a[kStep][kRows][4], low_a[kStep][kRows][4];
#pragma unroll
          for (int step = 0; step < kStep; ++step) {
            const uint32_t offset = own_halo + offsets[2 * (pair + step) + lane / 16];
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
              uint32_t own[4];
              load_matrices(own, base[row] + offset);
              if constexpr (kSplit) {
                split_operand(own, a[step][row], low_a[step][row]);
              } else {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                  a[step][row][i] = kPrecision == Precision::tf32 ? round_to_tf32(own[i]) : own[i];
                }
              }
            }
          }
          const auto add = [](const auto& of_a, const auto& of_b, int block, auto& target) {
#pragma unroll
            for (int step = 0; step < kStep; ++step) {
#pragma unroll
              for (int row = 0; row < kRows; ++row) {
                mma_sync<T>(target[row][block], of_a[step][row], of_b[step]);
              }
            }
          };
#pragma unroll
          for (int block = 0; block < kBlocks; ++block) {
            if (kBlocks > 1 && block >= chunks) break;
            uint32_t b[kStep][2], low_b[kStep][2];
#pragma unroll
            for (int step = 0; step < kStep; ++step) {
              load_two_matrices(b[step],
                                row_address + (step * kPairRows + block * kChunk) * kChunkBytes);
            }
            if constexpr (kSplit) {
#pragma unroll
              for (int step = 0; step < kStep; ++step) {
                const uint32_t own[2] = {b[step][0], b[step][1]};
                split_operand(own, b[step], low_b[step]);
              }
              float part[kRows][1][4] = {};
              add(low_a, b, 0, part);
              add(a, low_b, 0, part);
              add(a, b, 0, part);
#pragma unroll
              for (int i = 0; i < kRows * 4; ++i) sum[i / 4][block][i % 4] += part[i / 4][0][i % 4];
            } else {
              add(a, b, block, sum);
            }
          }
          row_address += kStep * kPairRows * kChunkBytes;
        }
      }
      if constexpr (kSplit) add_run();
      const auto store = [&](const auto& value) {
        store_results<kPrecision, kBlocks>(p, box, group + own_group, first_in, results, 0, value);
      };
      if constexpr (kSplit) {
        store(total);
      } else {
        store(sum);
      }
    }
  }
}

}  // namespace convt3d::cuda::few_channels
