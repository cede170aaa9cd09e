// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of one group as one matrix product:
//
//   grad_weight[ci, co, t] = sum over n, i of  grad_output[n, co, s*i + d*t - p] * input[n, ci, i]
//
//   M = (co, t), K = input positions (n, i), N = ci
//
//   halo of grad_output of a box of positions          packed input [ci][positions], TF32
//   4 producer warps: cp.async, or TMA                 1 thread: TMA
//        |  any address per row and position                |
//   registers of 2 warpgroups: A, 64 x 8  -------->  wgmma with B from shared memory
//
// wgmma wants 32-bit operands of shared memory with K contiguous and on 16 bytes, which a halo
// shifted by taps is not: A goes through registers, whose rows may lie anywhere. So rows need not
// be a multiple of anything: out_channels times taps are cut into blocks of up to 128 * kSlabs.
//
// supports() guarantees 32-bit counts and coordinates; offsets are 64-bit. Any strides will do.
#pragma once
#include "cuda/sm90/registers.cuh"
#include "cuda/tap_gemm/consume.cuh"

namespace convt3d::cuda::tap_gemm {

template <Precision kPrecision, int kColumns, int kSlabs>
__global__ void __launch_bounds__(kThreads, 1)
    tap_kernel(const __grid_constant__ Params p, const __grid_constant__ CUtensorMap packed,
               const __grid_constant__ CUtensorMap halo) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr bool kFull = kPrecision == Precision::fp32;
  constexpr Registers kRegisters = registers(kFull);
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ __align__(8) uint64_t barriers[2 * kMaxStages];
  // Descriptors want lines whose swizzle starts anew every 1024 bytes.
  const uint32_t stages = (shared_address(memory) + kStageAlignment - 1) & ~(kStageAlignment - 1u);
  unsigned char* tables = memory + (stages - shared_address(memory)) + p.stages * p.stage_bytes;
  Slot* slots = reinterpret_cast<Slot*>(tables);
  int* positions = reinterpret_cast<int*>(slots + p.slots);
  const uint32_t full = shared_address(barriers), empty = full + 8 * kMaxStages;
  sm90::let_next_launch_start();
  const Job job(p, blockIdx.x);
  if (threadIdx.x == 0) {
    for (int s = 0; s < p.stages; ++s) {
      sm90::barrier_init(full + 8 * s, p.boxes ? 1 : kProducerThreads + 1);
      sm90::barrier_init(empty + 8 * s, kConsumerThreads / 32);
    }
    sm90::barrier_init_fence();
  }
  fill_positions(p, job, positions);
  fill_slots(p, job, slots);
  __syncthreads();  // barriers and tables are there
  if (static_cast<int>(threadIdx.x) < kConsumerThreads) {
    sm90::more_registers<kRegisters.consumer>();
    consume<kPrecision, kColumns, kSlabs>(p, job, shared_address(positions), stages, full, empty);
  } else {
    sm90::fewer_registers<kRegisters.producer>();
    if (!p.boxes) {
      produce<kFull, kColumns>(p, &packed, job, slots, stages, full, empty);
    } else if (static_cast<int>(threadIdx.x) == kConsumerThreads) {
      produce_boxes<kFull, kColumns>(p, &packed, &halo, job, stages, full, empty);
    }
  }
#endif
}

}  // namespace convt3d::cuda::tap_gemm
