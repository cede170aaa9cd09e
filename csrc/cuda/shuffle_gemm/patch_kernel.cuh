// SPDX-License-Identifier: BSD-3-Clause
// grad_input where patches of grad_output do not overlap, by TMA and wgmma (sm_90).
//
//   grad_input[n, ci, i] = sum over co, t of grad_output[n, co, s * i + t] * weight[ci, co, t]
//
// M: positions (n, i), 128 in a tile, which is a box. N: in_channels. K: (t, co) in NDHWC, (co, t)
// in NCDHW, as the rows of the weight have them, in chunks of 128 bytes:
//
//              weight, a row for each in_channel         NDHWC  a chunk of grad_output is 128 bytes
//             +-----------+                                     of each position, where TMA puts
//   chunk     | 128 bytes | stage, or resident                  them for wgmma (swizzled)
//             +-----------+                              NCDHW  it is a box of what lies in memory,
//   +-------+ +-----------+                                     channel by channel; a thread picks
//   | 64    | | warpgroup |  sums in registers                  its words for wgmma, A from
//   | 64    | | warpgroup |                                     registers
//   +-------+ +-----------+
//
//   warp 8: copies, up to `stages` chunks ahead, on into the next tile
//     full[stage]    its one arrival and the bytes of the copies -> the consumer warps
//     empty[stage]   the 8 consumer warps, their wgmmas done     -> warp 8
//     sums_full      the bytes of the other blocks of a cluster  -> the consumer warps
//
// Where tiles are few, the blocks of a cluster have the same tile and a part of K each: they put
// their sums into each other's shared memory, and each adds up some of the columns, in the order of
// K.
//
// float32: patch_split.cuh. Forward of 32-bit elements is the same of a pointwise layer, whose
// weight has been turned, with results that go to columns' places: patch_scatter.cuh.
//
// patches_fit() and launch_patches() guarantee: kernel <= stride, padding 0, dense tensors in one
// layout, rows of multiples of 16 bytes; in NCDHW kernel = stride, no output padding, and whole
// chunks of channels.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/shuffle_gemm/cluster_sums.cuh"
#include "cuda/shuffle_gemm/patch_params.h"
#include "cuda/shuffle_gemm/patch_scatter.cuh"
#include "cuda/shuffle_gemm/patch_split.cuh"
#include "cuda/shuffle_gemm/patch_store.cuh"
#include "cuda/shuffle_gemm/patch_words.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::shuffle_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Of a chunk of a slice's weights in shared memory.
template <Precision kPrecision, int kColumns>
inline constexpr int patch_weight_bytes = kColumns * kPatchChunk * patch_parts(kPrecision);

// One chunk of grad_output of a tile.
template <bool kLines>
__device__ __forceinline__ void copy_source(const PatchParams& p, const PatchTile& tile, int line,
                                            int at, int chunk_elements, uint32_t target,
                                            uint32_t full) {
  const auto [n, d, h, w] = tile.first;
  if constexpr (!kLines) {
    sm90::load_box(target, &p.gradient[line], full, at * chunk_elements, w, h, d, n);
  } else if (p.merged == 2) {
    sm90::load_box(target, &p.gradient[0], full, d * p.box_step[0], at * p.chunk_channels, n, 0, 0);
  } else if (p.merged == 1) {
    sm90::load_box(target, &p.gradient[0], full, h * p.box_step[1], d * p.box_step[0],
                   at * p.chunk_channels, n, 0);
  } else if (p.second_start > 0) {
    sm90::load_box(target, &p.gradient[0], full, w * p.box_step[2], h, d * p.box_step[0],
                   at * p.chunk_channels, n);
    sm90::load_box(target + p.second_box, &p.gradient[0], full, p.second_start + w * p.box_step[2],
                   h, d * p.box_step[0], at * p.chunk_channels, n);
  } else {
    sm90::load_box(target, &p.gradient[0], full, w * p.box_step[2], h * p.box_step[1],
                   d * p.box_step[0], at * p.chunk_channels, n);
  }
}

// By one lane.
template <Precision kPrecision, int kColumns, bool kLines>
__device__ __forceinline__ void copy_chunks(const PatchParams& p, const PatchStages& shared,
                                            int slice, int walker, int first_chunk, int end_chunk) {
  constexpr int kChunk = kPatchChunk / sizeof(ElementOf<kPrecision>);
  constexpr int kWeight = patch_weight_bytes<kPrecision, kColumns>;
  if (p.packs) sm90::wait_for_earlier_launch();
  sm90::Ring ring;
#pragma unroll 1
  for (int index = walker; index < p.tiles; index += p.walkers) {
    const PatchTile tile(p, index);
    int at = first_chunk, line = p.line_chunks.take(&at);
#pragma unroll 1
    for (int chunk = first_chunk; chunk < end_chunk; ++chunk) {
      const uint32_t full = shared.full + 8 * ring.stage;
      const bool weights = !p.resident || index == walker;
      const int slot = p.resident ? chunk - first_chunk : ring.stage;
      sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
      sm90::barrier_arrive_expect(full, p.box_bytes + (weights ? kWeight : 0));
      if (weights) {
        sm90::load_box(shared.weight + slot * kWeight, &p.weight, full, at * kChunk, line,
                       slice * kColumns, 0, 0);
      }
      copy_source<kLines>(p, tile, line, at, kChunk, shared.source + ring.stage * kPatchSourceBytes,
                          full);
      ring.next(p.stages);
      if (++at == static_cast<int>(p.line_chunks.divisor)) {
        at = 0;
        ++line;
      }
    }
  }
}

// Adds up the sums of the blocks of a cluster, in the order of K, in those pairs of eight columns
// of a warpgroup that are this block's (is_own_pair); the others are left. `sums` is
// [pair][block][half of the pair][thread of the warpgroup], 16 bytes each, of the pairs that a
// block adds up.
template <int kColumns>
__device__ __forceinline__ void add_cluster(float (&sum)[kColumns / 2], uint32_t sums,
                                            uint32_t full, const Divider& split, int rank) {
  constexpr int kPairs = kColumns / 16, kHalf = 128 * 16;
  const int first = static_cast<int>(threadIdx.x) / 128 * kPairs;
  const int splits = static_cast<int>(split.divisor);
  sums += threadIdx.x % 128 * 16;
  wait_for_starts();
  int owner = first, place = split.take(&owner);
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (owner == rank) continue;
      const float* const own = sum + 8 * pair + 4 * half;
      send_to_block(sums + ((place * splits + rank) * 2 + half) * kHalf, full, owner, own[0],
                    own[1], own[2], own[3]);
    }
    if (++owner == splits) {
      owner = 0;
      ++place;
    }
  }
  sm90::barrier_wait(full, 0);  // all parts are there
  owner = first, place = split.take(&owner);
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair) {
    if (owner == rank) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float* const own = sum + 8 * pair + 4 * half;
        float4 all = make_float4(0, 0, 0, 0);
#pragma unroll 2
        for (int from = 0; from < splits; ++from) {
          float4 part = load_four_floats(sums + ((place * splits + from) * 2 + half) * kHalf);
          if (from == rank) part = make_float4(own[0], own[1], own[2], own[3]);
          all = make_float4(all.x + part.x, all.y + part.y, all.z + part.z, all.w + part.w);
        }
        own[0] = all.x, own[1] = all.y, own[2] = all.z, own[3] = all.w;
      }
    }
    if (++owner == splits) {
      owner = 0;
      ++place;
    }
  }
}

template <Precision kPrecision, int kColumns, bool kLines, bool kForward>
__device__ __forceinline__ void consume_chunks(const PatchParams& p, const PatchStages& shared,
                                               int slice, int walker, int chunks, int rank) {
  using T = ElementOf<kPrecision>;
  const int lane = static_cast<int>(threadIdx.x) % 32, group = static_cast<int>(threadIdx.x) / 128;
  const PatchRow row[2] = {PatchRow(p, patch_row<kLines>(0)), PatchRow(p, patch_row<kLines>(1))};
  int row_bytes[2] = {};
  uint32_t word_bytes[4] = {};
  if constexpr (kLines) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int axis = 0; axis < 4; ++axis) {
        row_bytes[i] += row[i].is_there() ? row[i].at(axis) * p.stage_position[axis] : 0;
      }
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        // This word of K: four bytes of taps of one channel.
        int tap_w = (step * 8 + i * 4 + lane % 4) * (4 / static_cast<int>(sizeof(T)));
        const int channel = p.taps.take(&tap_w);
        int tap_h = p.kernel_w.take(&tap_w);
        const int tap_d = p.kernel_h.take(&tap_h);
        const int bytes = channel * p.stage_tap[0] + tap_d * p.stage_tap[1] +
                          tap_h * p.stage_tap[2] + tap_w * static_cast<int>(sizeof(T));
        word_bytes[step] |= static_cast<uint32_t>(bytes) << 16 * i;
      }
    }
  }
  sm90::Ring ring;
#pragma unroll 1
  for (int index = walker; index < p.tiles; index += p.walkers) {
    float sum[kColumns / 2];
#pragma unroll
    for (float& value : sum) value = 0;
    const auto weight_of = [&](int chunk) {
      const int slot = p.resident ? chunk : ring.stage;
      return sm90::swizzled_descriptor(shared.weight + slot * (kColumns * kPatchChunk));
    };
    const auto issue_rows = [&](int chunk) {
      const uint64_t weight = weight_of(chunk);
      const uint64_t rows = sm90::swizzled_descriptor(
          shared.source + ring.stage * kPatchSourceBytes + group * (64 * kPatchChunk));
      sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
      sm90::wgmma_fence();
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        sm90::WgmmaShared<T, kColumns>::run(sum, rows + step * 2, weight + step * 2);
      }
      sm90::wgmma_commit();
    };
    if constexpr (kPrecision == Precision::fp32) {
      multiply_split<kColumns, kLines, kForward>(p, shared, chunks, row_bytes, word_bytes, &ring,
                                                 sum);
    } else if constexpr (kLines) {
      // While the wgmmas of a part of a chunk run, the words of the next are loaded; of the last
      // chunk, its first ones again, which nobody multiplies. Two blocks on an SM have registers
      // for halves.
      constexpr int kSteps = kColumns == 64 ? 2 : 4;
      uint32_t a[2][kSteps][4];
      sm90::Ring next = ring;
      const auto load = [&](uint32_t(&to)[kSteps][4], int first) {
        if (first == 0) sm90::barrier_wait(shared.full + 8 * next.stage, next.parity);
        load_words<T, kSteps>(p, to, shared.source + next.stage * kPatchSourceBytes, row_bytes,
                              word_bytes + first);
      };
      const auto multiply = [&](uint32_t(&own)[kSteps][4], int chunk, int first) {
        const uint64_t weight = weight_of(chunk) + first * 2;
        sm90::wgmma_fence();
#pragma unroll
        for (int i = 0; i < kSteps; ++i) {
          sm90::Wgmma<T, kColumns>::run(sum, own[i], weight + i * 2, 1);
        }
        sm90::wgmma_commit();
      };
      const auto finish = [&] {
        sm90::wgmma_wait<0>();
        sm90::release(shared.empty, ring);
        ring.next(p.stages);
      };
      load(a[0], 0);
      if constexpr (kSteps == 2) {
#pragma unroll 1
        for (int chunk = 0; chunk < chunks; ++chunk) {
          multiply(a[0], chunk, 0);
          load(a[1], 2);
          sm90::wgmma_wait<0>();
          multiply(a[1], chunk, 2);
          if (chunk + 1 < chunks) next.next(p.stages);
          load(a[0], 0);
          finish();
        }
      } else {
        const auto step = [&](uint32_t(&own)[kSteps][4], uint32_t(&other)[kSteps][4], int chunk) {
          multiply(own, chunk, 0);
          if (chunk + 1 < chunks) next.next(p.stages);
          load(other, 0);
          finish();
        };
        int chunk = 0;
#pragma unroll 1
        for (; chunk + 1 < chunks; chunk += 2) {
          step(a[0], a[1], chunk);
          step(a[1], a[0], chunk + 1);
        }
        if (chunk < chunks) step(a[0], a[1], chunk);
      }
    } else if constexpr (sizeof(T) == 4 && kColumns == 128) {
      // ptxas would move these sums between instructions under way (C7514).
#pragma unroll 1
      for (int chunk = 0; chunk < chunks; ++chunk) {
        issue_rows(chunk);
        sm90::wgmma_wait<0>();  // the other warpgroup's run on
        sm90::release(shared.empty, ring);
        ring.next(p.stages);
      }
    } else {
      issue_rows(0);
      sm90::Ring done = ring;
      ring.next(p.stages);
#pragma unroll 1
      for (int chunk = 1; chunk < chunks; ++chunk) {
        issue_rows(chunk);
        sm90::wgmma_wait<1>();  // the chunk before is done
        sm90::release(shared.empty, done);
        done = ring;
        ring.next(p.stages);
      }
      sm90::wgmma_wait<0>();
      sm90::release(shared.empty, done);
    }
    if (p.splits.divisor > 1)
      add_cluster<kColumns>(sum, shared.sums, shared.sums_full, p.splits, rank);
    const PatchTile tile(p, index);
    if constexpr (kLines && sizeof(T) == 2) {
      if (p.joins_eights) {
        const PatchRow eight(p, group * 64 + static_cast<int>(threadIdx.x) % 8 * 8);
        store_staged<T, kColumns>(
            p, sum, slice * kColumns, rank, shared.staging,
            eight.is_in(p, tile) ? static_cast<T*>(p.result) + eight.offset(p, tile) : nullptr);
        continue;
      }
    }
    T* to[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      to[half] = row[half].is_in(p, tile) ? static_cast<T*>(p.result) + row[half].offset(p, tile)
                                          : nullptr;
    }
#pragma unroll
    for (int pair = 0; pair < kColumns / 16; ++pair) {
      if (!is_own_pair<kColumns>(p, pair, rank)) continue;
      float own[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) own[i] = sum[8 * pair + i];
      const int column = slice * kColumns + 16 * pair;
      if constexpr (kForward) {
        scatter_columns(p, shared, own, 16 * pair, to);
      } else if constexpr (kLines) {
        store_lines<T>(p, own, column, to);
      } else {
        store_channels<T>(p, own, column, to);
      }
    }
    if constexpr (kPrecision == Precision::fp32) {
      store_again<kColumns, kForward>(p, shared, sum, row, tile, slice * kColumns, rank);
    }
  }
}

#endif

template <Precision kPrecision, int kColumns, bool kLines, bool kForward>
__global__ void __launch_bounds__(patch_threads(kColumns, kPrecision),
                                  patch_blocks(kColumns, kPrecision))
    patch_kernel(const __grid_constant__ PatchParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  const PatchStages shared(p, shared_address(memory), patch_weight_bytes<kPrecision, kColumns>,
                           kColumns);
  int rank = static_cast<int>(blockIdx.x);
  int slice = p.splits.take(&rank);
  const int walker = p.slices.take(&slice);
  const int first_chunk = static_cast<int>(p.splits.divide(p.chunks * rank));
  const int end_chunk = static_cast<int>(p.splits.divide(p.chunks * (rank + 1)));
  const bool splits = p.splits.divisor > 1;
  constexpr int kThreads = patch_threads(kColumns, kPrecision);
  if (threadIdx.x < kPatchConsumers) {
    if (splits) announce_start();
    if constexpr (kForward) describe_places<kColumns>(p, shared, slice);
    // The barriers, and where columns go, are there.
    asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory");
  } else {
    if (threadIdx.x == kPatchConsumers) {
      sm90::prefetch_map(&p.weight);
      for (int line = 0; line < p.maps; ++line) sm90::prefetch_map(&p.gradient[line]);
      for (int stage = 0; stage < p.stages; ++stage) {
        sm90::barrier_init(shared.full + 8 * stage, 1);
        sm90::barrier_init(shared.empty + 8 * stage, kPatchConsumers / 32);
      }
      sm90::barrier_init(shared.sums_full, 1);
      sm90::barrier_init_fence();
      if (splits) {
        int pairs = kColumns / 8 - 1 - rank;
        pairs = p.splits.take(&pairs) + 1;
        sm90::barrier_arrive_expect(
            shared.sums_full, pairs * (static_cast<int>(p.splits.divisor) - 1) * kPatchPairBytes);
      }
    }
    __syncwarp();
    if (splits) announce_start();
    // The copies do not wait for the consumers.
    asm volatile("bar.arrive 1, %0;" ::"n"(kThreads) : "memory");
  }
  constexpr bool kHandsOver = patch_hands_over(kColumns, kPrecision);
  if (threadIdx.x < kPatchConsumers) {
    if constexpr (kHandsOver) {
      sm90::more_registers<kPatchManyRegisters>();
    }
    consume_chunks<kPrecision, kColumns, kLines, kForward>(p, shared, slice, walker,
                                                           end_chunk - first_chunk, rank);
  } else {
    if constexpr (kHandsOver) {
      sm90::fewer_registers<kPatchFewRegisters>();
    }
    if (threadIdx.x == kPatchConsumers) {
      copy_chunks<kPrecision, kColumns, kLines>(p, shared, slice, walker, first_chunk, end_chunk);
    }
    __syncwarp();
    if (splits) wait_for_starts();  // with the consumers, in add_cluster()
  }
#endif
}

}  // namespace convt3d::cuda::shuffle_gemm
