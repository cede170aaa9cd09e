// SPDX-License-Identifier: BSD-3-Clause
// float32 in patch_kernel: x = high + low, both TF32, and three products for one,
//
//   grad_output * weight = low * high + high * low + high * high
//
// grad_output is split in registers, the weight by a launch ahead; its two parts lie behind each
// other in shared memory. Tensor cores truncate as they add, so the sums of each chunk start from
// zero, small products first, and are added to a tile's with rounding. What cannot be split
// (infinities, NaN, numbers that round to infinity, the smallest) is computed again.
#pragma once
#include <cstdint>

#include "cuda/common/doubtful.cuh"
#include "cuda/shuffle_gemm/patch_params.h"
#include "cuda/shuffle_gemm/patch_scatter.cuh"
#include "cuda/shuffle_gemm/patch_store.cuh"
#include "cuda/shuffle_gemm/patch_words.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::shuffle_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// sum += all chunks of a tile. `row` and `word` as load_words() wants them, in NCDHW.
template <int kColumns, bool kLines, bool kForward>
__device__ __forceinline__ void multiply_split(const PatchParams& p, const PatchStages& shared,
                                               int chunks, const int (&row)[2],
                                               const uint32_t (&word)[4], sm90::Ring* ring,
                                               float (&sum)[kColumns / 2]) {
  using Product = sm90::Wgmma<float, kColumns>;
  constexpr int kPart = kColumns * kPatchChunk;
  // Tiles of few chunks, as forward has them, would wait for words that nobody multiplies.
  constexpr bool kAhead = !kForward;
  const int group = static_cast<int>(threadIdx.x) / 128;
  float part[kColumns / 2] = {};
  uint32_t high[2][4][4], low[2][4][4];
  sm90::Ring next = *ring;
  const auto split = [](const uint32_t(&from)[4][4], uint32_t(&to_high)[4][4],
                        uint32_t(&to_low)[4][4]) {
#pragma unroll
    for (int step = 0; step < 4; ++step) split_tf32(from[step], to_high[step], to_low[step]);
  };
  const auto load = [&](uint32_t(&to_high)[4][4], uint32_t(&to_low)[4][4]) {
    const uint32_t source = shared.source + next.stage * kPatchSourceBytes;
    sm90::barrier_wait(shared.full + 8 * next.stage, next.parity);
    if constexpr (kLines) {
      load_words<float, 4>(p, to_low, source, row, word);
    } else {
      load_rows(to_low, source + group * (64 * kPatchChunk));
    }
    if constexpr (kAhead) split(to_low, to_high, to_low);
  };
  // The next chunk is loaded, and in grad_input split, while the wgmmas of one run; of
  // the last chunk its own words again, which nobody multiplies.
  const auto add_chunk = [&](int buffer, int chunk) {
    const uint32_t(&own_high)[4][4] = high[buffer];
    const uint32_t(&own_low)[4][4] = low[buffer];
    const int slot = p.resident ? chunk : ring->stage;
    const uint32_t weight = shared.weight + slot * (2 * kPart);
    const uint64_t large = sm90::swizzled_descriptor(weight);
    const uint64_t small = sm90::swizzled_descriptor(weight + kPart);
    sm90::wgmma_fence();
#pragma unroll
    for (int i = 0; i < 4; ++i) Product::run(part, own_low[i], large + i * 2, i > 0);
#pragma unroll
    for (int i = 0; i < 4; ++i) Product::run(part, own_high[i], small + i * 2, 1);
#pragma unroll
    for (int i = 0; i < 4; ++i) Product::run(part, own_high[i], large + i * 2, 1);
    sm90::wgmma_commit();
    if (chunk + 1 < chunks) next.next(p.stages);
    load(high[buffer ^ 1], low[buffer ^ 1]);
    sm90::wgmma_wait<0>();  // the other warpgroup's run on
    sm90::release(shared.empty, *ring);
    ring->next(p.stages);
#pragma unroll
    for (int i = 0; i < kColumns / 2; ++i) sum[i] += part[i];
    if constexpr (!kAhead) split(low[1], high[0], low[0]);
  };
  load(high[0], low[0]);
  if constexpr (!kAhead) split(low[0], high[0], low[0]);
  if constexpr (kAhead) {
    int chunk = 0;
#pragma unroll 1
    for (; chunk + 1 < chunks; chunk += 2) {
      add_chunk(0, chunk);
      add_chunk(1, chunk + 1);
    }
    if (chunk < chunks) add_chunk(0, chunk);
  } else {
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk) add_chunk(0, chunk);
  }
}

// The products of one result, one after the other. `at`: its position's first output.
__device__ __forceinline__ float exact_sum(const PatchParams& p, int64_t at, int column) {
  const float* weight = static_cast<const float*>(p.weight_data) + column * p.weight_column;
  float sum = 0;
#pragma unroll 1
  for (int i = 0; i < p.depth_steps[0]; ++i) {
#pragma unroll 1
    for (int j = 0; j < p.depth_steps[1]; ++j) {
#pragma unroll 1
      for (int k = 0; k < p.depth_steps[2]; ++k) {
        const float* const from = static_cast<const float*>(p.gradient_data) + at +
                                  i * p.depth_stride[0] + j * p.depth_stride[1] +
                                  k * p.depth_stride[2];
#pragma unroll 1
        for (int l = 0; l < p.depth_run; ++l, weight += p.weight_depth) {
          sum = fmaf(from[l], *weight, sum);
        }
      }
    }
  }
  return sum;
}

// This thread's doubtful sums once more, to where it stored them.
template <int kColumns, bool kForward>
__device__ __forceinline__ void store_again(const PatchParams& p, const PatchStages& shared,
                                            const float (&sum)[kColumns / 2],
                                            const PatchRow (&row)[2], const PatchTile& tile,
                                            int first_column, int rank) {
  // Neighbours store for each other (patch_scatter.cuh): what they stored is there before this.
  if constexpr (kForward) __syncwarp();
  // Rarely any: three instructions a sum tell.
  float poison = 0;  // NaN of infinities and NaN
  uint32_t least = ~0u;
#pragma unroll
  for (int i = 0; i < kColumns / 2; ++i) {
    poison = fmaf(sum[i], 0.0f, poison);
    least = min(least, 2 * __float_as_uint(sum[i]) - 1);  // zeros come last
  }
  if (poison == 0 && least >= 2 * __float_as_uint(kSmallestSum) - 1) return;
  uint64_t doubtful = 0;
#pragma unroll
  for (int i = 0; i < kColumns / 2; ++i) doubtful |= uint64_t{is_doubtful(sum[i])} << i;
#pragma unroll 1
  for (; doubtful != 0; doubtful &= doubtful - 1) {
    const int i = __ffsll(static_cast<long long>(doubtful)) - 1;
    const int own_column = i / 4 * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2;
    const int column = first_column + own_column;
    const PatchRow own = i % 4 < 2 ? row[0] : row[1];
    if (column >= p.columns || !own.is_in(p, tile)) continue;
    if (!is_own_pair<kColumns>(p, i / 8, rank)) continue;
    int64_t at = 0;
#pragma unroll
    for (int axis = 0; axis < 4; ++axis) {
      at += (tile.first[axis] + own.at(axis)) * p.gradient_stride[axis];
    }
    float result = exact_sum(p, at, column);
    int64_t place = column * p.channel_stride;
    if constexpr (kForward) {
      place = load_place(shared, own_column);
      const float2 bias = load_bias(shared, own_column - i % 2);  // of two, the first one even
      result += i % 2 == 0 ? bias.x : bias.y;
    }
    static_cast<float*>(p.result)[own.offset(p, tile) + place] = result;
  }
}

#endif

}  // namespace convt3d::cuda::shuffle_gemm
