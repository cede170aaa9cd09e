// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of NCDHW tensors of 16-bit elements as one matrix product:
//
//   grad_weight[ci, co, t] = sum over n, i of  grad_output[n, co, s*i + d*t - p] * input[n, ci, i]
//
//   M = (co, t), K = input positions (n, i), N = ci
//
//   lines of grad_output that a box of positions meets     the box of input [ci][positions]
//   4 producer warps, a stage each: cp.async
//        |  every s-th element, shifted by taps               |
//   registers of 2 warpgroups: A, 64 x 16  -------->  wgmma with B from shared memory
//
// In NCDHW positions are contiguous, for both operands: neither has to be turned around. A tap is
// a choice of elements of a line, which registers allow and shared memory does not.
//
// A row of A is a line of grad_output, (co, kd, kh), and one of the taps along w: all of these are
// picked out of the same words. Blocks split K; a second kernel adds their sums.
//
// supports() guarantees dense NCDHW input and grad_output, 32-bit offsets in a sample, dilation 1
// along w, and a stride and kernel along w that a tile is built for.
#pragma once
#include "cuda/line_weight/consume.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/registers.cuh"

namespace convt3d::cuda::line_weight {

// kTiles[kIndex]: nvcc has no kernels with templates of class type.
template <typename T, int kIndex>
__global__ void __launch_bounds__(kThreads, 1) line_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr Tile kTile = kTiles[kIndex];
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ __align__(8) uint64_t barriers[2 * kMaxStages];
  __shared__ int second[kMaxStages];  // of odd lines: produce.cuh
  const uint32_t stages = (shared_address(memory) + kStageAlign - 1) & ~(kStageAlign - 1u);
  const uint32_t full = shared_address(barriers), empty = full + 8 * kMaxStages;
  sm90::let_next_launch_start();
  const Job job(p, kTile, blockIdx.x);
  // Tables of the copies, behind the stages.
  unsigned char* tables = memory + (stages - shared_address(memory)) + p.stages * p.stage_bytes;
  Slots output, input;
  output.copies = job.lines * p.row_pieces;
  output.count = slots_of(output.copies, p.output.piece);
  input.copies = job.columns * p.column_pieces;
  input.count = slots_of(input.copies, p.input.piece);
  output.slots = reinterpret_cast<Slot*>(tables);
  input.slots = output.slots + output.count;
  output.at = reinterpret_cast<uint32_t*>(input.slots + input.count);
  input.at = output.at + output.count;
  if (threadIdx.x == 0) {
    for (int s = 0; s < p.stages; ++s) {
      sm90::barrier_init(full + 8 * s, 32 + 1);
      sm90::barrier_init(empty + 8 * s, kConsumerThreads / 32);
    }
    sm90::barrier_init_fence();
  }
  fill_output(p, job, kTile.columns * kColumnBytes, output);
  fill_input(p, input);
  if (p.has_holes) {
    const int used = min(p.stages, job.end_tile - job.first_tile) * p.stage_bytes;
    for (int at = 16 * threadIdx.x; at < used; at += 16 * kThreads) {
      store_shared(stages + at, make_uint4(0, 0, 0, 0));
    }
  }
  __syncthreads();  // barriers, tables and zeros are there
  if (static_cast<int>(threadIdx.x) < kConsumerThreads) {
    sm90::more_registers<kConsumerRegisters>();
    consume<T, kTile>(p, job, stages, full, empty, shared_address(second));
  } else {
    sm90::fewer_registers<kProducerRegisters>();
    produce<kTile>(p, job, input, output, stages, full, empty, shared_address(second));
    if (p.clustered) {  // as the consumers do
      cluster_barrier();
      cluster_barrier();
    }
  }
#endif
}

}  // namespace convt3d::cuda::line_weight
