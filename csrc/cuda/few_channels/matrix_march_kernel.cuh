// SPDX-License-Identifier: BSD-3-Clause
// grad_input on the tensor cores, from plane to plane. As matrix_input_kernel.cuh,
// but a block goes through grad_output along d: a plane of it is read from memory once, and what a
// warp loads of it, and in float32 splits, serves all taps on d that read that plane.
//
//   planes of grad_output   0   1   2   3   4   5   6       k3 s2 p1: plane 1 is tap 2 of results 0
//                           |   |\  |   |\  |   |\  |       and tap 0 of results 1
//   planes of results       0   ' 1-+   ' 2-+   ' 3-+
//
// Planes come in turns of the stride. Of turn m, plane j meets the results m with tap j, and with
// tap stride + j the results m - 1: so two planes of results are being summed, `young` and `old`.
//
// K is four out channels of a tap, twice: the pairs of (out chunk, tap on h and w), weights split
// and in the order of the registers they go to: [tap on d][pair][block][lane].
//
// supports() guarantees: 32-bit counts and coordinates, two planes and the weights within
// kMaxMarchShared, at most 16 in channels, dilation 1 on d and there more taps than the stride, at
// most twice as many.
#pragma once
#include <cstdint>

#include "cuda/few_channels/matrix_input_kernel.cuh"
#include "cuda/few_channels/matrix_march_tuning.h"

namespace convt3d::cuda::few_channels {

// A lane's part of b; in float32 the high numbers, then the low ones.
template <Precision kPrecision>
using WeightWords = Vector<uint32_t, kPrecision == Precision::fp32 ? 4 : 2>;

// Of p.block_groups groups from `group` on.
template <Precision kPrecision, int kBlocks>
__device__ __forceinline__ void stage_march_weights(const MatrixSums& p, int group,
                                                    WeightWords<kPrecision>* weights) {
  using T = ElementOf<kPrecision>;
  constexpr int kOfWord = 4 / sizeof(T);
  const int taps = p.kernel[1] * p.kernel[2], lane = threadIdx.x % 32;
  const int of_group = p.kernel[0] * p.march_pairs * kBlocks;
  for (int at = threadIdx.x / 32; at < p.block_groups * of_group; at += kMatrixWarps) {
    const int own_group = at / of_group, block = at % kBlocks;
    const int in = block * kChunk + lane / 4;
    int depth = at % of_group / kBlocks;
    const int pair = depth % p.march_pairs;
    depth /= p.march_pairs;
    const T* const source = static_cast<const T*>(p.weight) +
                            (int64_t{group + own_group} * p.ins + in) * p.weight_stride[0] +
                            depth * p.weight_stride[2];
    uint32_t own[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int unit = 2 * pair + i;
      int h = unit % taps;
      const int w = divide(&h, p.by_kernel[2]);
      Elements<T, kOfWord> word{};
      const int out = unit / taps * chunk_of(sizeof(T)) + lane % 4 * kOfWord;
      const T* const first = source + h * p.weight_stride[3] + w * p.weight_stride[4];
      word = load_elements<kOfWord, T>(
          reinterpret_cast<const char*>(first + out * p.weight_stride[1]),
          in < p.ins && out < p.outs, p.weight_stride[1] * sizeof(T), p.outs - out, false);
      own[i] = word.bits.value[0];
    }
    WeightWords<kPrecision> words{{own[0], own[1]}};
    if constexpr (sizeof(T) == 4) {
      uint32_t high[2], low[2];
      split_operand(own, high, low);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        words.value[i] = high[i];
        if constexpr (kPrecision == Precision::fp32) words.value[2 + i] = low[i];
      }
    }
    weights[at * 32 + lane] = words;
  }
}

// A plane of grad_output around a box, as it is staged: its first line and column, and the address
// of that element in the first channel of the block, which may lie outside.
struct Plane {
  bool inside;
  int h, w;
  const char* corner;
};

__device__ __forceinline__ Plane find_plane(const MatrixSums& p, const Box& box, int plane,
                                            int group) {
  int first[3];
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    first[axis] = box.first[axis] * p.stride[axis] - p.padding[axis];
  }
  first[0] += plane;
  const char* corner = static_cast<const char*>(p.output) + box.n * p.output_bytes[0] +
                       group * p.outs * p.output_bytes[1];
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) corner += first[axis] * p.output_bytes[2 + axis];
  return {within(first[0], p.output_extent[0]), first[1], first[2], corner};
}

// body(h) for the lines `line`, and every `lines`th from there on, of `count`.
template <typename Body>
__device__ __forceinline__ void for_lines(int line, int lines, int count, const Body& body) {
  // Four without a branch between them.
#pragma unroll 1
  for (; line + 3 * lines < count; line += 4 * lines) {
#pragma unroll
    for (int i = 0; i < 4; ++i) body(line + i * lines);
  }
#pragma unroll 1
  for (; line < count; line += lines) body(line);
}

// To [out chunk][chunk of its place]. Neighbouring threads have the chunks of a place, or the
// channels of a chunk of 32-bit elements, which they copy one by one; then come columns, then
// lines.
template <typename T>
__device__ __forceinline__ void stage_plane(const MatrixSums& p, const Plane& plane,
                                            int plane_chunks, uint4* target) {
  if (!plane.inside) return;
  constexpr int kOuts = chunk_of(sizeof(T));
  int line = threadIdx.x;
  const int part = divide(&line, p.by_across);
  const int first = divide(&line, p.halo_spread.by_side), lines = p.halo_spread.lines;
  if (line >= lines) return;
  const bool whole = p.long_outputs;
  const int line_chunks = p.stride[2] * p.columns, outs = p.block_groups * p.outs;
  const int64_t step = lines * p.output_bytes[3];
#pragma unroll 1
  for (int w = first; w < p.halo[2]; w += p.side) {
    const bool there = within(plane.w + w, p.output_extent[2]);
    const char* column = plane.corner + w * p.output_bytes[4] + line * p.output_bytes[3] +
                         part * p.output_bytes[1] * (whole ? kOuts : 1);
    uint32_t place = shared_address(target + chunk_of_column(p, w) + line * line_chunks) +
                     part * (whole ? plane_chunks * kChunkBytes : 4);
    int left = outs - part * (whole ? kOuts : 1);
#pragma unroll 1
    for (; left > 0; left -= kOuts) {
      const char* source = column;
      uint32_t to = place;
      const auto copy = [&](const auto& body) {
        for_lines(line, lines, p.halo[1], [&](int h) {
          body(there && within(plane.h + h, p.output_extent[1]));
          source += step;
          to += lines * line_chunks * kChunkBytes;
        });
      };
      if (whole) {
        copy([&](bool in) { copy_async<16>(to, source, in ? 16 : 0); });
        break;
      } else if constexpr (sizeof(T) == 4) {
        copy([&](bool in) { copy_async<4>(to, source, in ? 4 : 0); });
      } else {
        copy([&](bool in) {
          uint4 chunk;
          stage_chunk<T>(&chunk, source, in, p.output_bytes[1], left);
          store_shared(to, chunk);
        });
      }
      column += kOuts * p.output_bytes[1];
      place += plane_chunks * kChunkBytes;
    }
  }
}

// The plane of an item that is staged next.
struct Ahead {
  int index, plane;
  Box box;
};

template <Precision kPrecision, int kBlocks>
__global__ __launch_bounds__(kMatrixThreads,
                             2) void matrix_march_kernel(const __grid_constant__ MatrixSums p) {
  if constexpr (kArch != 90) return;  // measured there alone: choose_march()
  using T = ElementOf<kPrecision>;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  using Sums = float[kRows][kBlocks][4];
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int plane_chunks = p.halo[1] * p.stride[2] * p.columns;
  const int buffer_chunks = plane_chunks * p.block_groups * p.out_chunks;
  const int weight_tiles = gridDim.x / p.splits;
  const int group = blockIdx.x % weight_tiles * p.block_groups, split = blockIdx.x / weight_tiles;
  const int warps = kMatrixWarps / p.block_groups;  // of a group
  const int own_group = warp / warps;

  using Words = WeightWords<kPrecision>;
  auto* const weights = reinterpret_cast<Words*>(shared + 2 * buffer_chunks);
  const int own_words = p.kernel[0] * p.march_pairs * kBlocks * 32;
  auto* const offsets = reinterpret_cast<int*>(weights + p.block_groups * own_words);
  auto* const results = reinterpret_cast<int64_t*>(offsets + 2 * p.march_pairs);  // of the box
  stage_march_weights<kPrecision, kBlocks>(p, group, weights);
  const int taps = p.kernel[1] * p.kernel[2], units = taps * p.out_chunks;
  for (int at = threadIdx.x; at < 2 * p.march_pairs; at += kMatrixThreads) {
    const int unit = min(at, units - 1);
    offsets[at] = (unit / taps * plane_chunks + chunk_of_tap(p, unit % taps)) * kChunkBytes;
  }
  uint32_t base[kRows];  // see matrix_input_kernel
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    const int position = (warp % warps * kRows + row) * 16 + lane % 16;
    base[row] = shared_address(shared + own_group * plane_chunks + chunk_of_position(p, position));
  }

  const auto count_results = [&](const Box& box) {
    return min(p.tile[0], p.input_extent[0] - box.first[0]);
  };
  const auto count_planes = [&](const Box& box) {
    return p.stride[0] * (count_results(box) - 1) + p.kernel[0];
  };
  // body(plane) of the next one, if there is one.
  const auto advance = [&](Ahead* ahead, const auto& body) {
    if (ahead->index >= p.boxes) return;
    body(find_plane(p, ahead->box, ahead->plane, group));
    if (++ahead->plane == count_planes(ahead->box)) {
      ahead->plane = 0;
      ahead->index += p.splits;
      ahead->box = find_box(p, ahead->index);
    }
  };
  Ahead ahead{split, 0, find_box(p, split)};
  const auto stage_next = [&](int buffer) {
    uint4* const target = shared + buffer * buffer_chunks;
    advance(&ahead, [&](const Plane& plane) { stage_plane<T>(p, plane, plane_chunks, target); });
    copies_commit();
  };
  int buffer = 0;
  stage_next(buffer);

#pragma unroll 1
  for (int index = split; index < p.boxes; index += p.splits) {
    const Box box = find_box(p, index);
    const int own_results = count_results(box), planes = count_planes(box);
    Sums old = {}, young = {};
    int turn = 0, of_turn = 0;
#pragma unroll 1
    for (int plane = 0; plane < planes; ++plane) {
      copies_wait<0>();
      __syncthreads();  // this plane is there, and all have read the one before
      // A warp's own: no other reads them.
      if (plane == 0) results[threadIdx.x] = find_result(p, box, threadIdx.x % (32 * warps));
      const int od = box.first[0] * p.stride[0] - p.padding[0] + plane;
      const bool inside = within(od, p.output_extent[0]);
      const bool for_young = inside && turn < own_results;
      const bool for_old = inside && turn > 0 && of_turn + p.stride[0] < p.kernel[0];
      const uint32_t own = buffer * buffer_chunks * kChunkBytes;
      const int steps = for_young || for_old ? p.march_pairs : 0;
      // Half of the warps multiply first, half copy first, so that both go on at any time.
#pragma unroll 1
      for (int phase = 0; phase < 2; ++phase) {
        if ((phase ^ warp % 2) == 0) {
          stage_next(buffer ^ 1);
          continue;
        }
#pragma unroll 1
        for (int pair = 0; pair < steps; pair += kMarchStep) {
          uint32_t a[kMarchStep][kRows][4], low_a[kSplit ? kMarchStep : 1][kRows][4];
#pragma unroll
          for (int step = 0; step < kMarchStep; ++step) {
            const uint32_t offset = own + offsets[2 * (pair + step) + lane / 16];
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
              uint32_t loaded[4];
              load_matrices(loaded, base[row] + offset);
              if constexpr (kSplit) {
                split_operand(loaded, a[step][row], low_a[step][row]);
              } else {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                  a[step][row][i] = sizeof(T) == 4 ? round_to_tf32(loaded[i]) : loaded[i];
                }
              }
            }
          }
          const auto add_taps = [&](int depth, Sums& sum) {
            const Words* const own_weights = weights + own_group * own_words +
                                             (depth * p.march_pairs + pair) * kBlocks * 32 + lane;
#pragma unroll
            for (int block = 0; block < kBlocks; ++block) {
              Words words[kMarchStep];
#pragma unroll
              for (int step = 0; step < kMarchStep; ++step) {
                words[step] = own_weights[(step * kBlocks + block) * 32];
              }
              // Apart where there are registers, so that one does not wait for the other.
              constexpr bool kApart = kSplit && kBlocks == 1;
              float part[kRows][4] = {};
              [[maybe_unused]] float apart[kApart ? kRows : 1][4] = {};
              const auto add = [&](int step, const auto& of_a, int first_word, auto& target) {
                const uint32_t b[2] = {words[step].value[first_word],
                                       words[step].value[first_word + 1]};
#pragma unroll
                for (int row = 0; row < kRows; ++row) mma_sync<T>(target[row], of_a[step][row], b);
              };
              const auto add_steps = [&](auto& low_part) {
#pragma unroll
                for (int step = 0; step < kMarchStep; ++step) {
                  if constexpr (kSplit) add(step, low_a, 0, low_part);
                  add(step, a, 0, part);
                  if constexpr (kSplit) add(step, a, 2, low_part);
                }
              };
              if constexpr (kApart) {
                add_steps(apart);
              } else {
                add_steps(part);
              }
#pragma unroll
              for (int i = 0; i < kRows * 4; ++i) {
                float& own = sum[i / 4][block][i % 4];
                if constexpr (kApart) own += apart[i / 4][i % 4];
                own += part[i / 4][i % 4];
              }
            }
          };
          if (for_young) add_taps(of_turn, young);
          if (for_old) add_taps(of_turn + p.stride[0], old);
        }
      }
      buffer ^= 1;
      if (++of_turn < p.stride[0] && plane + 1 < planes) continue;
      // A turn is over: one plane of results is complete.
      __syncwarp();
      if (turn > 0) {
        store_results<kPrecision, kBlocks>(p, box, group + own_group, 0, results, turn - 1, old);
      }
#pragma unroll
      for (int i = 0; i < kRows * kBlocks * 4; ++i) {
        float& of_young = young[i / (4 * kBlocks)][i / 4 % kBlocks][i % 4];
        old[i / (4 * kBlocks)][i / 4 % kBlocks][i % 4] = of_young;
        of_young = 0;
      }
      of_turn = 0;
      ++turn;
    }
  }
}

}  // namespace convt3d::cuda::few_channels
