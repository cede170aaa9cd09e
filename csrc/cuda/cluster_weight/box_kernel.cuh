// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of layers with kernel = stride in NCDHW, as one matrix product in one launch, by TMA
// and wgmma (9.0 only):
//
//   grad_weight[ci, co, t] = sum over n, i of  input[n, ci, i] * grad_output[n, co, s*i + t]
//
//   M = columns (co, t), 128 of a block; N = ci; K = positions (n, i), which come in boxes
//
//     input         rows of ci, 128 bytes of positions each, as wgmma wants them (swizzled)
//     grad_output   as it lies, channel by channel: a thread picks its words, A from registers: the
//                   taps of w lie between the positions, so a pair of taps of a pair of positions
//                   are two words, which prmt sorts into two rows of A
//
//     warp 8   box b + stages -> stage                           | full: the bytes of its copies
//     warps 0-7  words of a group of K -> registers, while the wgmmas of the group before run
//     sums -> shared memory -> of each block's share of ci to its shared memory -> added up, stored
//
// All that a block reads is under way at once where its stages hold it. The blocks of a cluster
// share the positions. Boxes end within K's groups: input has zeros there, and so have registers.
//
// Where lines of input are no multiples of 16 bytes, or a box has several images, whole volumes
// come as they lie, and the warps that multiply write the rows. float32 has three TF32 products, of
// parts of input that these warps write, and of its own words (three_products.cuh).
//
// choose_boxes() guarantees kernel = stride, no padding, taps that divide 128 and 2 or 4 of them
// along w, dense tensors in NCDHW; launch_boxes() their alignment.
#pragma once
#include "cuda/cluster_weight/box_load.cuh"
#include "cuda/cluster_weight/box_store.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::cluster_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// float32.
template <typename Tile>
__device__ __forceinline__ void multiply_parts(const BoxParams& p,
                                               float (&sum)[Tile::kParts][Tile::kWide / 2],
                                               const uint32_t (&a)[Tile::kSteps][4], uint32_t stage,
                                               int group) {
  static_assert(Tile::kParts == 1);
  const uint32_t high = stage + group * (Tile::kRows * kPanelRow);
  const uint32_t low = high + p.groups * (Tile::kRows * kPanelRow);
#pragma unroll
  for (int step = 0; step < Tile::kSteps; step += kJoinedSteps) {
    const uint32_t at = 32 * step;
    uint32_t joined[kJoinedSteps][4];
#pragma unroll
    for (int i = 0; i < 4 * kJoinedSteps; ++i) joined[i / 4][i % 4] = a[step + i / 4][i % 4];
    add_three_products<Tile::kWide>(sum[0], joined, high + at, low + at);
  }
}

template <typename Tile>
__device__ __forceinline__ void multiply_group(float (&sum)[Tile::kParts][Tile::kWide / 2],
                                               const uint32_t (&a)[Tile::kSteps][4], uint32_t stage,
                                               int group) {
  const uint32_t at = stage + group * (Tile::kRows * kPanelRow);
  sm90::wgmma_fence();
#pragma unroll
  for (int part = 0; part < Tile::kParts; ++part) {
    const uint64_t input = sm90::swizzled_descriptor(at + part * (Tile::kWide * kPanelRow));
#pragma unroll
    for (int step = 0; step < Tile::kSteps; ++step) {
      sm90::Wgmma<typename Tile::T, Tile::kWide>::run(sum[part], a[step], input + 2 * step, 1);
    }
  }
  sm90::wgmma_commit();
}

// The products of all boxes of this block.
template <typename Tile>
__device__ __forceinline__ void sum_boxes(const BoxParams& p, const BoxShared& shared, int boxes,
                                          float (&sum)[Tile::kParts][Tile::kWide / 2]) {
  // The lane's columns, of two taps: rows lane / 4 and 8 below it of the warp's 16.
  const int column =
      static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4 * 2;
  const int channel = column / p.taps, tap = column - channel * p.taps;
  const int line = tap / p.kernel_w, depth = line / p.kernel_h;
  const uint32_t own = p.output_at + channel * p.channel_bytes + depth * p.plane_bytes +
                       (line - depth * p.kernel_h) * p.line_bytes +
                       (tap - line * p.kernel_w) * Tile::kElement;
  constexpr int kGroupTable = Tile::kSteps * 4 * (Tile::kElement == 2 ? 8 : 4);  // bytes
  uint32_t a[2][Tile::kSteps][4];
  sm90::Ring ring;
  if constexpr (Tile::kTurned || Tile::kThree) {
#pragma unroll 1
    for (int box = 0; box < boxes; ++box) {
      const uint32_t stage = shared.stages + ring.stage * p.stage_bytes;
      sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
      write_rows<Tile>(p, stage);
#pragma unroll 1
      for (int group = 0; group < p.groups; ++group) {
        pick_words<Tile>(p, stage + own, shared.table + group * kGroupTable, a[0]);
        if constexpr (Tile::kThree) {
          multiply_parts<Tile>(p, sum, a[0], stage, group);
        } else {
          multiply_group<Tile>(sum, a[0], stage, group);
          sm90::wgmma_wait<0>();
        }
      }
      sm90::release(shared.empty, ring);
      ring.next(p.stages);
    }
  } else {
    int group = 0, next_group = 0;
    sm90::Ring next;
    int left = boxes * p.groups;  // groups that are not multiplied yet
    const auto pick = [&](uint32_t(&to)[Tile::kSteps][4]) {
      if (next_group == 0) sm90::barrier_wait(shared.full + 8 * next.stage, next.parity);
      pick_words<Tile>(p, shared.stages + next.stage * p.stage_bytes + own,
                       shared.table + next_group * kGroupTable, to);
    };
    // While a group is multiplied the words of the next are picked; of the last one, its own.
    const auto step = [&](uint32_t(&now)[Tile::kSteps][4], uint32_t(&other)[Tile::kSteps][4]) {
      multiply_group<Tile>(sum, now, shared.stages + ring.stage * p.stage_bytes, group);
      if (--left > 0 && ++next_group == p.groups) {
        next_group = 0;
        next.next(p.stages);
      }
      pick(other);
      sm90::wgmma_wait<0>();
      if (++group == p.groups) {
        group = 0;
        sm90::release(shared.empty, ring);
        ring.next(p.stages);
      }
    };
    pick(a[0]);
#pragma unroll 1
    while (left > 1) {
      step(a[0], a[1]);
      step(a[1], a[0]);
    }
    if (left > 0) step(a[0], a[1]);
  }
}

#endif

template <typename Tile>
__global__ void __launch_bounds__(kBoxThreads, box_blocks(Tile::kRows))
    box_weight_kernel(const __grid_constant__ BoxParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char box_memory[];
  const BoxShared shared(p, shared_address(box_memory));
  const BoxJob job(p, Tile::kRows);
  const int boxes = job.end_box - job.first_box;
  const auto copy = [&](int box, int stage) {
    copy_box<Tile>(p, job, job.first_box + box, shared.stages + stage * p.stage_bytes,
                   shared.full + 8 * stage);
  };
  if (threadIdx.x < kSumThreads) {
    fill_table<Tile>(p, shared.table);
    // The barriers are initialised, and the table is there.
    sync_threads<kStartBarrier, kBoxThreads>();
    float sum[Tile::kParts][Tile::kWide / 2] = {};
    sum_boxes<Tile>(p, shared, boxes, sum);
    sync_threads<kSumBarrier, kSumThreads>();  // nobody reads a stage: the sums take their place
#pragma unroll
    for (int part = 0; part < Tile::kParts; ++part) {
      leave_columns<kBoxSumPitch>(shared.stages + part * Tile::kWide * kBoxSumPitch, sum[part]);
    }
    store_box_sums<Tile>(p, job, shared);
  } else {
    if (threadIdx.x == kSumThreads) {
      for (int stage = 0; stage < p.stages; ++stage) {
        sm90::barrier_init(shared.full + 8 * stage, 1);
        sm90::barrier_init(shared.empty + 8 * stage, kWarps);
      }
      sm90::barrier_init(shared.sums_full, 1);
      sm90::barrier_init_fence();
    }
    __syncwarp();
    // Does not wait: a copy takes 200 clocks to issue, and those that multiply begin with the
    // first.
    asm volatile("bar.arrive %0, %1;" ::"n"(kStartBarrier), "n"(kBoxThreads) : "memory");
    if (threadIdx.x == kSumThreads) {
      sm90::Ring ring;
      for (int box = 0; box < boxes; ++box) {
        sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
        copy(box, ring.stage);
        ring.next(p.stages);
      }
    }
    __syncwarp();
    if (p.splits > 1) {  // with those that multiply, in store_box_sums()
      cluster_barrier();
      cluster_barrier();
    }
  }
#endif
}

}  // namespace convt3d::cuda::cluster_weight
