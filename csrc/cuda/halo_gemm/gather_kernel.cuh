// SPDX-License-Identifier: BSD-3-Clause
// grad_input of k3 s2 in NCDHW, few channels of grad_output:
//
//   grad_input[n, ci, i] = sum over taps t, co: grad_output[n, co, 2 i + t - p] * weight[ci, co, t]
//
// M = positions, runs of 16 along w for each warp; N = channels of grad_input; K = channels of
// grad_output and taps of w. A comes from registers, gathered out of lines that lie in shared
// memory as they do in memory: any shift, any parity, so that nothing is turned or packed. B, the
// weights, are all in shared memory.
//
//   u = o + p = 2 i + t        a block marches through the planes u of grad_output, each loaded
//                              once (a stage is 32 bytes of channels of the lines of a tile). What
//   planes u   0 1 2 3 4 5 6   a consumer has gathered it multiplies for all planes of grad_input
//   plane 0    x x x           that u is for: two sums, `now` and `next`.
//   plane 1        x x x
//   plane 2            x x x
//
//   16 bits   K of a pair: taps 0 and 1 of a channel, neighbours in memory, and then tap 2 of two
//             channels. Where lines begin at odd elements pairs straddle words: a lane loads both
//             words of its three taps, and picks the halves.
//   TF32      K of four: taps 0 and 1 of two channels, so that lanes read neighbours; tap 2 of four
//
//   3 warpgroups     consumers   full: producers' copies -> consumers
//   1 warpgroup      producers   empty: all consumer warps -> producers (gather_load.cuh); of
//                                aligned lines one thread is enough
//   thread 0 copies the weights, once: weights_full -> consumers
//
// Where the weights of all channels of grad_output do not fit, a cluster of two blocks shares the
// sums of 64 columns: each has half of these channels, and the weights of those (gather_join.cuh).
//
// Elements outside a line, and lines outside a plane, are made zeros in registers.
//
// supports() guarantees: groups and dilation 1, k3 s2, at most 2 padding, tiles and stages that
// fit, chains of at most sm90/chain.h's length, and dense tensors in NCDHW.
#pragma once
#include "cuda/common/cluster.cuh"
#include "cuda/halo_gemm/gather_join.cuh"
#include "cuda/halo_gemm/gather_load.cuh"
#include "cuda/halo_gemm/gather_operand.cuh"
#include "cuda/halo_gemm/gather_store.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// B's descriptor, of its lower word, in which addresses are added up.
__device__ __forceinline__ uint64_t weights_at(uint32_t low) {
  return sm90::b_descriptor(0) >> 32 << 32 | low;
}

// The products of a stage: of tap 1 of d for `now`, or (kBoth) of tap 2 for `now` and 0 for `next`.
// `b`: of the stage's chunk.
template <typename T, int kColumns, bool kAligned, bool kBoth>
__device__ __forceinline__ void multiply_stage(
    const GatherParams& p, const GatherRows (&rows)[gather_tiles(kColumns)], int slot,
    const GatherShifts& shift, int first_source, uint32_t b, uint32_t empty, const sm90::Ring& ring,
    float (&now)[gather_tiles(kColumns)][kColumns / 2],
    float (&next)[gather_tiles(kColumns)][kColumns / 2]) {
  using Product = sm90::Wgmma<T, kColumns>;
  constexpr int kTiles = gather_tiles(kColumns), kKernel = kGatherKernel;
  constexpr int kStep = kColumns * 32 >> 4, kTapD = kKernel * kGatherSteps * kStep;
  const int of_line = p.line_bytes;
  uint32_t a[2][kGatherSteps][4] = {};
  const auto settle = [](uint32_t(&values)[kGatherSteps][4]) {
#pragma unroll
    for (int i = 0; i < kGatherSteps * 4; ++i) asm volatile("" : "+r"(values[i / 4][i % 4]));
  };
  const auto multiply = [&](int tap, int m, uint32_t(&here)[kGatherSteps][4]) {
    sm90::wgmma_wait<1>();  // the products before the last ones have read `here`
    settle(here);
    const int from = slot + rows[m].at + tap * of_line;
    if constexpr (kAligned) {
      gather_aligned<T>(p, from, rows[m].inside[0], here);
    } else {
      const int line = first_source + kGatherStride * rows[m].line + tap;
      const bool inside = static_cast<unsigned>(line) < static_cast<unsigned>(p.source_extent[1]);
      gather<T>(p, rows[m], from, shift, inside ? ~0u : 0u, here);
    }
    sm90::wgmma_fence();
#pragma unroll
    for (int s = 0; s < kGatherSteps; ++s) {
      const uint32_t of_step = b + (tap * kGatherSteps + s) * kStep;
      Product::run(now[m], here[s], weights_at(of_step + (kBoth ? 2 : 1) * kTapD), 1);
      if constexpr (kBoth) Product::run(next[m], here[s], weights_at(of_step), 1);
    }
    sm90::wgmma_commit();
  };
#pragma unroll
  for (int step = 0; step < kKernel * kTiles; ++step) {
    multiply(step / kTiles, step % kTiles, a[step % 2]);
  }
  sm90::release(empty, ring);  // all of it is in registers
  sm90::wgmma_wait<0>();
  settle(a[0]);
  settle(a[1]);
  sm90::pin(now);
  if constexpr (kBoth) sm90::pin(next);
}

template <typename T, int kColumns, int kRanks, bool kAligned>
__device__ __forceinline__ void consume_lines(const GatherParams& p, const GatherShared& shared) {
  constexpr int kTiles = gather_tiles(kColumns);
  constexpr int kChunk = kGatherKernel * kGatherKernel * kGatherSteps * kColumns * 32 >> 4;
  constexpr int kOwned = kColumns / kRanks;  // of the columns
  static_assert(kRanks == 1 || kTiles == 1);
  GatherRows rows[kTiles];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) rows[m] = gather_rows<T, kAligned>(p, m);
  sm90::Ring ring;
  uint32_t mail_parity = 0;
  sm90::barrier_wait(shared.weights_full, 0);
  const auto weights = static_cast<uint32_t>(sm90::b_descriptor(shared.weights));
  GatherWalk walk(p);
  while (walk.next(p)) {
    float now[kTiles][kColumns / 2], next[kTiles][kColumns / 2];
    const auto start_next = [&] {
#pragma unroll
      for (int i = 0; i < kTiles * kColumns / 2; ++i) {
        now[i / (kColumns / 2)][i % (kColumns / 2)] = next[i / (kColumns / 2)][i % (kColumns / 2)];
        next[i / (kColumns / 2)][i % (kColumns / 2)] = 0;
      }
    };
#pragma unroll
    for (int i = 0; i < kTiles * kColumns / 2; ++i) {
      now[i / (kColumns / 2)][i % (kColumns / 2)] = 0;
      next[i / (kColumns / 2)][i % (kColumns / 2)] = 0;
    }
    const auto multiply = [&]<bool kBoth>(int u) {
      if (!GatherWalk::there(p, u)) return;
      GatherShifts shift{};
      if constexpr (!kAligned) shift = gather_shifts<T>(p, walk, u);
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
        multiply_stage<T, kColumns, kAligned, kBoth>(
            p, rows, static_cast<int>(shared.slots) + ring.stage * p.slot_bytes, shift,
            walk.first_source(p), weights + chunk * kChunk, shared.empty, ring, now, next);
        ring.next(p.slots);
      }
    };
    const auto has_run = [&](int m) {
      return rows[m].line >= 0 && walk.first_line + rows[m].line < p.result_extent[1];
    };
    const auto store = [&](int plane, int m, const float(&sum)[kOwned / 2]) {
      const auto& stride = p.result_stride;
      const int first_channel = blockIdx.x % (p.blocks * kRanks) * kOwned;
      T* const result = static_cast<T*>(p.result) + walk.item * stride[0] +
                        first_channel * stride[1] + plane * stride[2];
      const int line = walk.first_line + rows[m].line;
      const int first = first_of_run(p, thread_here() / 32, m, rows[m].line);
      store_run<T, kOwned, kAligned>(p, result + line * stride[3] + first,
                                     p.result_extent[2] - first, p.channels - first_channel, sum);
    };
    float own[kOwned / 2];  // sums that wait for those of the other blocks
    const auto join = [&](int plane) {
      if (plane < walk.from || !has_run(0)) return;
      receive_sums<kColumns, kRanks>(shared, mail_parity, own);
      mail_parity ^= 1;
      store(plane, 0, own);
    };
    for (int plane = walk.from;; ++plane) {
      multiply.template operator()<true>(kGatherStride * plane);
      if (plane > walk.from) {
        if constexpr (kRanks == 1) {
#pragma unroll
          for (int m = 0; m < kTiles; ++m) {
            if (has_run(m)) store(plane - 1, m, now[m]);
          }
        } else if (has_run(0)) {
          send_sums<kColumns, kRanks>(shared, mail_parity, now[0]);
#pragma unroll
          for (int i = 0; i < kOwned / 2; ++i) own[i] = now[0][i];
        }
      }
      start_next();
      if (plane < walk.to) multiply.template operator()<false>(kGatherStride * plane + 1);
      if constexpr (kRanks > 1) join(plane - 1);
      if (plane == walk.to) break;
    }
  }
}

#endif

template <typename T, int kColumns, int kRanks, bool kAligned>
__global__ void CONVT3D_CLUSTER(kRanks) __launch_bounds__(kGatherThreads, 1)
    gather_kernel(const __grid_constant__ GatherParams p,
                  const __grid_constant__ CUtensorMap lines) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(128) unsigned char memory[];
  const GatherShared shared(p, shared_address(memory));
  if (threadIdx.x == 0) {
    sm90::barrier_init(shared.weights_full, 1);
    for (int s = 0; s < p.slots; ++s) {
      sm90::barrier_init(shared.full + 8 * s,
                         kAligned ? 1 : kGatherThreads - 32 * kGatherConsumers);
      sm90::barrier_init(shared.empty + 8 * s, kGatherConsumers);
    }
    if constexpr (kRanks > 1) init_mail<kRanks>(shared.mail, kGatherConsumers);
    sm90::barrier_init_fence();
  }
  kRanks > 1 ? cluster_barrier() : __syncthreads();
  if (threadIdx.x / 32 < kGatherConsumers) {
    sm90::more_registers<kGatherConsumerRegisters>();
    if (threadIdx.x == 0) {
      sm90::wait_for_earlier_launch();  // the kernel that packs
      sm90::barrier_arrive_expect(shared.weights_full, p.weight_bytes);
      sm90::bulk_copy(shared.weights,
                      p.weights + int64_t{blockIdx.x % (p.blocks * kRanks)} * p.weight_bytes,
                      p.weight_bytes, shared.weights_full);
    }
    __syncwarp();
    consume_lines<T, kColumns, kRanks, kAligned>(p, shared);
  } else {
    sm90::fewer_registers<kGatherProducerRegisters>();
    if constexpr (!kAligned) {
      load_lines<T>(p, shared);
    } else if (threadIdx.x == 32 * kGatherConsumers) {
      load_boxes<T>(p, shared, &lines);
    }
  }
  if constexpr (kRanks > 1) {  // the others write to this block no more
    __syncwarp();
    cluster_barrier();
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
