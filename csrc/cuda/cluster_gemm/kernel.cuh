// SPDX-License-Identifier: BSD-3-Clause
// Forward and grad_input as matrix products of many channels:
//
//   result[position, column] = sum over taps and channels of read[position of the tap, channel]
//                                                           * weight[column, tap, channel]
//
//   forward     a product for each residue of the result: M = its positions, N = out_channels,
//               K = (its taps, in_channels)
//   grad_input  one product: M = positions of grad_input, N = in_channels, K = (taps, out_channels)
//
//     read: rows of channels             weight: rows of channels of K
//       | one lane: a walk of TMA          | the same lane: a box of TMA
//       | over the tile's positions        |
//       v                                  v
//     [rows][128 bytes of K]            [columns][128 bytes of K]        4 to 7 stages
//       +-------------- wgmma, 2 warpgroups --------------+
//                            |
//     sums -> of each block's share of the columns to its shared memory -> added up, stored
//
// A cluster's blocks have a part of K each: few positions give few tiles, whose K is long. Where a
// residue has fewer taps, less blocks share its K, and a cluster has several of its tiles.
// Positions are numbered across lines, planes and batch items, so that no tile has a border.
//
// supports() guarantees groups = 1, tensors of less than 2**31 elements, chains of instructions as
// short as chain.h wants them, and at least one tap for every residue.
#pragma once
#include "cuda/cluster_gemm/params.h"
#include "cuda/cluster_gemm/store.cuh"
#include "cuda/cluster_gemm/tile.cuh"
#include "cuda/common/cluster.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/sm90/walk.cuh"
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::cluster_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// By one lane.
template <typename Tile>
__device__ __forceinline__ void produce(const Params& p, const Maps& maps, uint32_t stages) {
  sm90::Ring ring;
  sm90::wait_for_earlier_launch();  // packed tensors
#pragma unroll 1
  for (int item = first_item(p); item < p.items; item += p.clusters) {
    const Job job(p, item, Tile::kRows, Tile::kColumns);
    const PartParams& part = p.part[job.part];
    const CUtensorMap* const walk = &maps.walk[job.part];
    int at[3], n = job.first_row;
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      at[a] = divide(&n, part.axis[a].extent) * p.read_step[a] + part.axis[a].corner;
    }
#pragma unroll 1
    for (int unit = job.first_unit; unit < job.last_unit; ++unit) {
      int shift[3], tap[3], rest = unit;
      const int channel = divide(&rest, p.chunks) * Tile::kChunk;
#pragma unroll
      for (int a = 2; a >= 0; --a) {
        const PartAxis& axis = part.axis[a];
        const int j = divide(&rest, axis.taps);
        shift[a] = axis.shift + j * axis.shift_step;
        tap[a] = axis.first_tap + j * p.tap_step[a];
      }
      const uint32_t barrier = stages + Tile::kFullAt + 8 * ring.stage;
      const uint32_t stage = stages + ring.stage * Tile::kStageBytes;
      sm90::barrier_wait(barrier + Tile::kEmptyBehind, ring.parity ^ 1);
      sm90::barrier_arrive_expect(barrier, Tile::kStageBytes);
      sm90::load_walk(stage, walk, barrier, channel, at[2], at[1], at[0], n, shift[2], shift[1],
                      shift[0]);
      sm90::load_box(stage + Tile::kReadBytes, &maps.weight, barrier, channel, tap[2], tap[1],
                     tap[0], job.first_column);
      ring.next(Tile::kStages);
    }
  }
}

// By each warp that multiplies, when it has read a stage.
__device__ __forceinline__ void release(uint32_t empty) {
  if (threadIdx.x % 32 == 0) sm90::barrier_arrive(empty);
}

// Adds `units` of K to `sum`, at least one.
template <typename Tile>
__device__ __forceinline__ void multiply(int units, uint32_t stages, sm90::Ring& ring,
                                         Sums<Tile>& sum) {
  const uint32_t rows = threadIdx.x / 128 * (Tile::kRows / 2) * kChunkBytes;
  uint32_t before = 0;  // the barrier of the stage that is still read
#pragma unroll 1
  do {
    const uint32_t full = stages + Tile::kFullAt + 8 * ring.stage;
    sm90::barrier_wait(full, ring.parity);
    const uint32_t stage = stages + ring.stage * Tile::kStageBytes;
    const uint64_t a = sm90::swizzled_descriptor(stage + rows);
    const uint64_t b = sm90::swizzled_descriptor(stage + Tile::kReadBytes);
    sm90::wgmma_fence();
#pragma unroll
    for (int k = 0; k < kStepsOfChunk; ++k) {
#pragma unroll
      for (int m = 0; m < Tile::kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < Tile::kColumnTiles; ++n) {
          // In a descriptor's units of 16 bytes.
          float(&d)[Tile::kInstruction / 2] = sum[m * Tile::kColumnTiles + n];
          const uint64_t a_step = a + m * (64 * kChunkBytes >> 4) + 2 * k;
          sm90::WgmmaShared<typename Tile::T, Tile::kInstruction>::run(
              d, a_step, b + n * (Tile::kInstruction * kChunkBytes >> 4) + 2 * k);
        }
      }
    }
    sm90::wgmma_commit();
    sm90::wgmma_wait<1>();
    if (before != 0) release(before);
    before = full + Tile::kEmptyBehind;
    ring.next(Tile::kStages);
  } while (--units > 0);
  sm90::wgmma_wait<0>();
  sm90::pin(sum);
  release(before);
}

// The same behind a chain of sums that is as long as it may be (chain.h): a few units at a time
// have sums of their own, of a slice of the columns at once, which are added with rounding.
template <typename Tile>
__device__ __forceinline__ void multiply_apart(int units, uint32_t stages, sm90::Ring& ring,
                                               Sums<Tile>& sum) {
  constexpr int kSlices = Tile::kInstruction / kApartColumns, kSums = kApartColumns / 2;
  const uint32_t rows = threadIdx.x / 128 * (Tile::kRows / 2) * kChunkBytes;
#pragma unroll 1
  for (; units > 0; units -= kApartUnits) {
    const int here = min(units, kApartUnits);
    const sm90::Ring first = ring;
#pragma unroll
    for (int slice = 0; slice < Tile::kRowTiles * Tile::kColumnTiles * kSlices; ++slice) {
      const int m = slice / (Tile::kColumnTiles * kSlices);
      const int n = slice % (Tile::kColumnTiles * kSlices);
      float part[1][kSums] = {};
      ring = first;
      sm90::wgmma_fence();
#pragma unroll 1
      for (int unit = 0; unit < here; ++unit) {
        sm90::barrier_wait(stages + Tile::kFullAt + 8 * ring.stage, ring.parity);
        const uint32_t stage = stages + ring.stage * Tile::kStageBytes;
        const uint64_t a = sm90::swizzled_descriptor(stage + rows + m * 64 * kChunkBytes);
        const uint64_t b =
            sm90::swizzled_descriptor(stage + Tile::kReadBytes + n * kApartColumns * kChunkBytes);
#pragma unroll
        for (int k = 0; k < kStepsOfChunk; ++k) {
          sm90::WgmmaShared<typename Tile::T, kApartColumns>::run(part[0], a + 2 * k, b + 2 * k);
        }
        ring.next(Tile::kStages);
      }
      sm90::wgmma_commit();
      sm90::wgmma_wait<0>();
      sm90::pin(part);
#pragma unroll
      for (int i = 0; i < kSums; ++i) sum[slice / kSlices][n % kSlices * kSums + i] += part[0][i];
    }
    ring = first;
    for (int unit = 0; unit < here; ++unit) {
      release(stages + Tile::kFullAt + 8 * ring.stage + Tile::kEmptyBehind);
      ring.next(Tile::kStages);
    }
  }
}

template <typename Tile>
__device__ __forceinline__ void consume(const Params& p, uint32_t stages) {
  sm90::Ring ring;
#pragma unroll 1
  for (int item = first_item(p); item < p.items; item += p.clusters) {
    const Job job(p, item, Tile::kRows, Tile::kColumns);
    Sums<Tile> sum = {};
    const int units = job.last_unit - job.first_unit;
    if (units > 0) {  // else there are more blocks than units, or than tiles
      multiply<Tile>(min(units, p.chain_units), stages, ring, sum);
      multiply_apart<Tile>(units - p.chain_units, stages, ring, sum);
    }
    if (job.log_splits > 0) {
      share_sums<Tile>(job, stages, sum);
      store_share<Tile>(p, job, stages);
    } else {
      if (p.splits > 1) {  // with the blocks of the cluster that share theirs
        cluster_barrier();
        cluster_barrier();
      }
      store_sums<Tile>(p, job, sum);
    }
  }
}

#endif

template <typename Tile>
__global__ void __launch_bounds__(kThreads, 1)
    cluster_gemm_kernel(const __grid_constant__ Params p, const __grid_constant__ Maps maps) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  const uint32_t stages = shared_address(memory);
  if (threadIdx.x == kSumWarps * 32) {
    sm90::prefetch_map(&maps.weight);
    sm90::prefetch_map(&maps.walk[0]);
  }
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Tile::kStages; ++stage) {
      const uint32_t full = stages + Tile::kFullAt + 8 * stage;
      sm90::barrier_init(full, 1);                               // the lane that loads
      sm90::barrier_init(full + Tile::kEmptyBehind, kSumWarps);  // those that multiply
    }
    sm90::barrier_init_fence();
  }
  __syncthreads();  // the barriers are initialised
  if (threadIdx.x >= kSumWarps * 32) {
    sm90::fewer_registers<kLoadRegisters>();
    if (threadIdx.x == kSumWarps * 32) produce<Tile>(p, maps, stages);
    __syncwarp();
    if (p.splits > 1) {  // with those that multiply, in share_sums()
      cluster_barrier();
      cluster_barrier();
    }
  } else {
    sm90::more_registers<kSumRegisters>();
    consume<Tile>(p, stages);
  }
#endif
}

}  // namespace convt3d::cuda::cluster_gemm
