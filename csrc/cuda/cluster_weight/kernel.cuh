// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of layers of few positions, as one matrix product in one launch:
//
//   grad_weight[ci, co, t] = sum over n, i of  input[n, ci, i] * grad_output[n, co, s*i + d*t - p]
//
//   M = ci, N = columns (co, t) in the order of the result, K = input positions (n, i)
//
//   block = kM in_channels x 128 columns, a part of the positions
//   cluster = all parts of a tile
//
//     4 warps: chunk of positions --cp.async--> stage --> 8 warps: mma.sync -> sums in registers
//              (as it lies, rows of channels or lines of positions)
//     sums -> shared memory of all blocks of the cluster -> each adds up and stores a share of ci
//
// Such a layer takes 10 us, of which launches, first loads and the store are most: one launch, no
// workspace, no other layout. Two blocks on an SM hide each other's waits.
//
// supports() guarantees groups = 1, tensors of less than 2**31 elements, both dense in the order of
// the result; lines: kernel = stride, no padding, 2 or 4 taps along w; rows of channels: channels
// that are multiples of 16 bytes.
#pragma once
#include "cuda/cluster_weight/load.cuh"
#include "cuda/cluster_weight/store.cuh"
#include "cuda/cluster_weight/three_products.cuh"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/registers.cuh"

namespace convt3d::cuda::cluster_weight {

template <typename Tile>
__device__ __forceinline__ void produce(const Params& p, uint32_t barriers, int* table,
                                        uint32_t stages) {
  const Job job(p, Tile::kM);
  const int chunks = job.chunks(Tile::kChunk);
  fill_lines<Tile>(p, job, table);
  const bool single = min(p.input_piece, p.output_piece) < 4;
  int stage = 0, parity = 1;
#pragma unroll 1
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const uint32_t full = barriers + 16 * stage;
    sm90::barrier_wait(full + 8, parity);
    load_chunk<Tile>(p, job, job.first_position + chunk * Tile::kChunk, table,
                     stages + stage * Tile::kStageBytes);
    if (single) sm90::barrier_arrive(full);  // what went through registers is there
    sm90::barrier_arrive_after_copies(full);
    if (++stage == Tile::kStages) stage = 0, parity ^= 1;
  }
}

// multiply(stage) for each chunk.
template <typename Tile, typename Multiply>
__device__ __forceinline__ void consume_stages(const Job& job, uint32_t barriers, uint32_t stages,
                                               const Multiply& multiply) {
  const int chunks = job.chunks(Tile::kChunk);
  int stage = 0, parity = 0;
#pragma unroll 1
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const uint32_t full = barriers + 16 * stage;
    sm90::barrier_wait(full, parity);
    multiply(stages + stage * Tile::kStageBytes);
    __syncwarp();  // all lanes have read the stage
    if (threadIdx.x % 32 == 0) sm90::barrier_arrive(full + 8);
    if (++stage == Tile::kStages) stage = 0, parity ^= 1;
  }
  sync_threads<kSumBarrier, kSumThreads>();  // nobody reads a stage: the sums take their place
}

template <typename Tile>
__device__ __forceinline__ void consume(const Params& p, uint32_t panels, uint32_t barriers,
                                        uint32_t stages) {
  const Job job(p, Tile::kM);
  if constexpr (Tile::kPanels) {
    float sum[Tile::kM / 2] = {};
    consume_stages<Tile>(job, barriers, stages, [&](uint32_t stage) {
      write_panels<Tile>(stage, panels);
      multiply_chunk<Tile>(stage, panels, sum);
    });
    leave_columns<Tile::kSumPitch>(stages, sum);
  } else {
    const int warp = threadIdx.x / 32;
    const int row = warp % Tile::kWarpsM * Tile::kWarpM;
    const int column = warp / Tile::kWarpsM * Tile::kWarpN;
    const LanePlace<Tile> lane(row, column);
    Sums<Tile> sum = {};
    consume_stages<Tile>(job, barriers, stages,
                         [&](uint32_t stage) { multiply<Tile>(stage, lane, sum); });
    leave_sums<Tile>(stages, row, column, sum);
  }
  store_sums<Tile>(p, job, barriers + kSumsFull, stages);
}

template <typename Tile>
__global__ void __launch_bounds__(kThreads, Tile::kBlocks)
    cluster_weight_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  constexpr int kBarriersAt = 2 * Tile::kPanelBytes;
  const uint32_t panels = shared_address(memory), barriers = panels + kBarriersAt;
  const uint32_t stages = barriers + kTableBytes;
  if (threadIdx.x < Tile::kStages) {
    // Full: each loading thread arrives when its copies have landed, and once more for what went
    // through registers. Empty: the warps that multiply.
    const int arrivals = min(p.input_piece, p.output_piece) < 4 ? 2 : 1;
    sm90::barrier_init(barriers + 16 * threadIdx.x, arrivals * kLoadThreads);
    sm90::barrier_init(barriers + 16 * threadIdx.x + 8, kWarps);
    if (threadIdx.x == 0) sm90::barrier_init(barriers + kSumsFull, 1);
    if (p.splits > 1) sm90::barrier_init_fence();
  }
  __syncthreads();  // the barriers are initialised
  if (threadIdx.x >= kSumThreads) {
    if constexpr (Tile::kBlocks == 2) {
      sm90::fewer_registers<kLoadRegisters>();
    }
    produce<Tile>(p, barriers, reinterpret_cast<int*>(memory + kBarriersAt + kTableAt), stages);
    if (p.splits > 1) {  // with those that multiply, in store_sums()
      cluster_barrier();
      cluster_barrier();
    }
  } else {
    if constexpr (Tile::kBlocks == 2) {
      sm90::more_registers<kSumRegisters>();
    }
    consume<Tile>(p, panels, barriers, stages);
  }
#endif
}

}  // namespace convt3d::cuda::cluster_weight
