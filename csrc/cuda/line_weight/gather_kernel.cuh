// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of k3 s2 (h and w) in NCDHW, 16 bits and TF32, all taps along h and w in one block:
//
//   grad_weight[ci, co, t] = sum over n, i of  grad_output[n, co, 2 i + t - p] * input[n, ci, i]
//
//   M = rows (co, tap of d), 64 of a warpgroup
//   N = 32 in_channels of a warpgroup
//   K = positions, 16 (TF32: 8) of a line to an instruction
//   Two warpgroups have different rows, different in_channels, or different positions of a stage.
//
// A block marches through the lines of a plane, and loads each line of grad_output once. What a
// warp picks out of a line (gather_words.cuh: the words of its three taps along w) it multiplies
// for all taps along h that the line is for, with the lines of input that it meets there:
//
//   u = o + p = 2 i + t
//   line u of grad_output   0 1 2 3 4 5 6    even: tap 0 with input u / 2, 2 with the one before
//   input 0                 x x x            odd: tap 1
//   input 1                     x x x        a stage has lines 2 i and 2 i + 1, and input i
//   input 2                         x x x
//
//   2 warpgroups     consumers, 9 taps of 32 columns each
//   1 warpgroup      producers (gather_load.cuh): full -> consumers, empty: all consumer warps
//
// Blocks split K; gather_reduce.cuh adds their sums.
//
// supports() guarantees k3 s2 d1 along h and w, at most 3 taps and dilation 1 along d, lines of
// input of whole 16 bytes, and dense NCDHW; launch() an input that begins on 16 bytes.
#pragma once
#include "cuda/line_weight/gather_words.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/parked_sums.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::line_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

using GatherSums = float[kGatherSlabs][kGatherColumns / 2];  // of (tap of h, tap of w)

template <typename T>
__device__ __forceinline__ void multiply_tap(const GatherTaps& taps, uint32_t input, int tap_h,
                                             GatherSums& sums) {
  const uint64_t b = sm90::descriptor(sm90::mn_descriptor_low(input, 16),
                                      sm90::mn_descriptor_high(kGatherDepthBytes));
#pragma unroll
  for (int tap = 0; tap < kGatherKernel; ++tap) {
    sm90::Wgmma<T, kGatherColumns>::run(sums[tap_h * kGatherKernel + tap], taps[tap], b, 1);
  }
}

template <typename T, bool kOdd>
__device__ __forceinline__ void consume_lines(const GatherParams& p, const GatherShared& shared) {
  constexpr int kBytes = sizeof(T);
  const int thread = threadIdx.x, quad = thread % 4, first_row = rows_of(p, thread / 32);
  const GatherJob job(p, blockIdx.x % p.jobs);
  const bool has_rows = first_row < p.rows;  // warps without: all lanes read the same
  uint32_t row_at[2], row_low[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = min(first_row + thread % 32 / 4 + 8 * i, p.rows - 1);
    const GatherRow place(p, gather_group(kBytes), row);
    row_at[i] = has_rows ? place.at + 8 * quad : 0;
    if constexpr (kOdd) {  // of an address in memory, what counts modulo 16
      row_low[i] =
          kBytes * static_cast<uint32_t>((job.first_channel + place.channel) * p.output_stride[1] +
                                         place.tap * p.output_stride[2]);
      if (!has_rows) row_low[i] = 0;
    } else {
      row_at[i] += kGatherLead - 4;
    }
  }
  const sm90::Parking parking{p.partial, p.chain};
  sm90::ParkedSums<kConsumerThreads> parked(parking);
  parked.start();
  GatherSums sums = {};
  GatherTaps even = {}, odd = {};
  const int tile = tile_bytes(p),
            line_depths = (p.width * kBytes + kGatherDepthBytes - 1) / kGatherDepthBytes;
  const int share = p.shares > 1 ? thread / 128 : 0;
  const uint32_t columns = columns_of(p, thread / 32) * kGatherDepthBytes;
  sm90::Ring ring, slot;
  GatherWalk walk(p);
  while (walk.next(p)) {
    // The stage of input alone.
    sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
    sm90::release(shared.empty, ring);
    uint32_t previous = shared.inputs + slot.stage * p.input_bytes;
    ring.next(p.stages);
    slot.next(p.stages + 1);
    const int first = walk.chunk * p.depths;
    const int depths = min(p.depths, line_depths - first);
    // Of the lane's first position's first tap.
    const int element = first_element<kBytes>(p, walk.chunk) + kGatherStride * quad * 4 / kBytes;
    const uint32_t low_of_plane =
        kBytes * static_cast<uint32_t>(walk.item * p.output_stride[0] +
                                       first_plane(p, job, walk.plane) * p.output_stride[2] +
                                       first_element<kBytes>(p, walk.chunk)) +
        static_cast<uint32_t>(reinterpret_cast<uintptr_t>(p.output));
    const uint32_t low_of_line = kBytes * static_cast<uint32_t>(p.output_stride[3]);
    for (int step = walk.from; step < walk.to; ++step) {
      sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
      const uint32_t stage = shared.stages + ring.stage * p.stage_bytes;
      const uint32_t input = shared.inputs + slot.stage * p.input_bytes;
      uint32_t row[2][2], here, before;  // [line of the pair]; input of this line, of the last
      const auto start_line = [&](int line) {
        const uint32_t low = low_of_plane + (first_line(p, step) + 2 * line) * low_of_line;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          uint32_t& at = row[i / 2][i % 2];
          at = stage + line * p.pair_bytes + i / 2 * p.second_line + row_at[i % 2];
          if constexpr (kOdd) at += (low + i / 2 * low_of_line + row_low[i % 2]) & 15;
        }
        here = input + columns + line * tile;
        before = line > 0 ? here - tile : previous + columns + (p.lines - 1) * tile;
      };
      GatherWords words;
      int line = 0, k = share;
      for (; k >= depths; k -= depths) ++line;
      start_line(line);
      const auto move = [&](int by) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          row[i / 2][i % 2] += by * (kGatherStride * kGatherDepthBytes);
        }
        here += by * p.lines * tile;
        before += by * p.lines * tile;
      };
      move(k);
      const int all = p.lines * depths - share;
      if (all > 0) load_gathered<kOdd>(row[0], words);
#pragma unroll 1
      for (int count = all; count > 0; count -= p.shares) {
        const bool is_edge = k == depths - 1 || (k == 0 && walk.chunk == 0);
        const auto gather = [&](const uint32_t(&rows)[2], GatherTaps& taps) {
          sm90::wgmma_wait<1>();  // the products before the last ones have read `taps`
          settle(taps);
          pick_taps<kBytes, kOdd>(rows, words, blockIdx.z, taps);
          if (kOdd && is_edge) {
            clear_outside<kBytes>(p, element + k * kGatherStride * gather_depth(kBytes), taps);
          }
        };
        gather(row[0], even);
        load_gathered<kOdd>(row[1], words);
        sm90::wgmma_fence();
        multiply_tap<T>(even, here, 0, sums);
        multiply_tap<T>(even, before, 2, sums);
        sm90::wgmma_commit();
        gather(row[1], odd);
        const uint32_t input_here = here;
        if (count > p.shares) {  // the next positions' words are loaded while products run
          k += p.shares;
          if (k < depths) {
            move(p.shares);
          } else {
            for (; k >= depths; k -= depths) ++line;
            start_line(line);
            move(k);
          }
          load_gathered<kOdd>(row[0], words);
        }
        sm90::wgmma_fence();
        multiply_tap<T>(odd, input_here, 1, sums);
        sm90::wgmma_commit();
      }
      sm90::wgmma_wait<0>();
      settle(even);
      settle(odd);
      sm90::pin(sums);
      sm90::release(shared.empty, ring);
      previous = input;
      ring.next(p.stages);
      slot.next(p.stages + 1);
      parked.add(p.lines * p.depths, p.lines * p.depths, sums);
    }
  }
  parked.park(sums);
}

#endif

template <typename T, bool kOdd>
__global__ void __launch_bounds__(kThreads, 1)
    gather_kernel(const __grid_constant__ GatherParams p,
                  const __grid_constant__ CUtensorMap input_map,
                  const __grid_constant__ CUtensorMap output_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(128) unsigned char memory[];
  const GatherShared shared(p, shared_address(memory));
  const int producer = static_cast<int>(threadIdx.x) - kConsumerThreads;
  const bool copies = kOdd && p.box_rows == 0;
  if (threadIdx.x == 0) {
    for (int s = 0; s < p.stages; ++s) {
      sm90::barrier_init(shared.full + 8 * s, 1 + (copies ? kGatherCopiers : 0));
      sm90::barrier_init(shared.empty + 8 * s, kConsumerThreads / 32);
    }
    sm90::barrier_init_fence();
  }
  sm90::let_next_launch_start();
  __syncthreads();  // barriers are there
  if (producer < 0) {
    sm90::more_registers<kConsumerRegisters>();
    consume_lines<T, kOdd>(p, shared);
  } else {
    sm90::fewer_registers<kProducerRegisters>();
    if (copies && producer < kGatherCopiers) copy_lines<sizeof(T)>(p, shared);
    if (kOdd && !copies && producer >= kGatherCopiers) {
      load_groups<sizeof(T)>(p, shared, &input_map, &output_map);
    } else if (producer == kGatherCopiers) {
      load_boxes<sizeof(T), !kOdd>(p, shared, &input_map, &output_map);
    }
  }
#endif
}

}  // namespace convt3d::cuda::line_weight
