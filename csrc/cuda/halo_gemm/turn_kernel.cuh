// SPDX-License-Identifier: BSD-3-Clause
// grad_input of k3 s2 in NCDHW, many channels of grad_input:
//
//   grad_input[n, ci, i] = sum over taps t, co: grad_output[n, co, 2 i + t - p] * weight[ci, co, t]
//
// M = 128 channels of grad_input, 64 of each consumer warpgroup, weights as A; N = positions:
// `lines` whole lines of a plane, numbered line by line, `pitch` apart; K = channels of
// grad_output, 32 bytes a stage.
//
// grad_output comes as it lies in memory, by bulk copies, and is turned into rows of channels on
// its way from shared memory to shared memory (turn_load.cuh), the residues of h and w apart: a tap
// is a class of rows, moved by whole rows.
//
//   warpgroups 0, 1   consumers            full: warps that turn -> consumers
//   3 warps           turn lines           raw_full: bytes of lines -> warps that turn
//   1 warp            copies               weights_full: bytes of weights -> consumers
//                                          and each has an `empty`, the other way
//
// Rows that two lines share are zeros of both. Columns between the lines are multiplied in vain,
// and not stored.
//
// supports() guarantees: groups and dilation 1, k3 s2, at most 2 padding, tiles and stages that
// fit, chains of at most sm90/chain.h's length, and dense tensors in NCDHW.
#pragma once
#include "cuda/halo_gemm/plane_wgmma.cuh"
#include "cuda/halo_gemm/turn_load.cuh"
#include "cuda/halo_gemm/turn_store.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <typename T, int kColumns>
__device__ __forceinline__ void consume_turned(const TurnParams& p, const TurnShared& shared) {
  constexpr int kTap = kTurnChannels * kTurnRowBytes >> 4, kRow = kTurnRowBytes >> 4;
  const int group = threadIdx.x / 128;
  const uint64_t a_first =
      plane_descriptor(shared.weights + group * 64 * kTurnRowBytes, kTurnRowBytes);
  const uint64_t b_first = plane_descriptor(shared.slots, kTurnRowBytes);
  const int to_block = 2 * p.class_bytes[0] >> 4;
  const int to_class[2] = {p.class_bytes[0] >> 4, p.class_bytes[1] >> 4};
  sm90::Ring ring, weights;
  TurnWalk walk(p);
  while (walk.next(p)) {
    float sum[kColumns / 2];
#pragma unroll
    for (int i = 0; i < kColumns / 2; ++i) sum[i] = 0;
    sm90::Ring stage_before, weights_before;  // whose products may be running
    bool first = true;
    for (int tap = 0; tap < kTurnKernel; ++tap) {
      if (!walk.there(p, tap)) continue;
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
        const uint64_t rows = b_first + (ring.stage * p.slot_bytes >> 4);
#pragma unroll
        for (int h = 0; h < kTurnKernel; ++h) {
          sm90::barrier_wait(shared.weights_full + 8 * weights.stage, weights.parity);
          const uint64_t a = a_first + (weights.stage * kTurnWeightBytes >> 4);
          const uint64_t b = rows + h % 2 * to_block + h / 2 * p.pitch * kRow;
          sm90::wgmma_fence();
#pragma unroll
          for (int w = 0; w < kTurnKernel; ++w) {
            sm90::WgmmaShared<T, kColumns>::run(sum, a + w * kTap,
                                                b + w % 2 * to_class[h % 2] + w / 2 * kRow);
          }
          sm90::wgmma_commit();
          sm90::wgmma_wait<1>();
          if (h > 0 || !first) sm90::release(shared.weights_empty, weights_before);
          if (h == 0 && !first) sm90::release(shared.empty, stage_before);
          weights_before = weights;
          weights.next(p.weight_slots);
        }
        first = false;
        stage_before = ring;
        ring.next(p.slots);
      }
    }
    sm90::wgmma_wait<0>();
    sm90::pin(sum);
    if (!first) {
      sm90::release(shared.weights_empty, weights_before);
      sm90::release(shared.empty, stage_before);
    }
    const int channel = blockIdx.x % p.blocks * kTurnChannels + thread_here() / 32 * 16;
    const auto& stride = p.result_stride;
    T* const result = static_cast<T*>(p.result) + walk.item * stride[0] + channel * stride[1] +
                      walk.plane * stride[2] + walk.first_line * stride[3];
    store_columns<T, kColumns>(p, result, p.channels - channel,
                               min(p.lines, p.result_extent[1] - walk.first_line), shared.places,
                               sum);
  }
}

#endif

template <typename T, int kColumns>
__global__ void __launch_bounds__(kTurnThreads, 1)
    turn_kernel(const __grid_constant__ TurnParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(128) unsigned char memory[];
  const TurnShared shared(p, kTurnVector<T> * p.raw_pitch, shared_address(memory));
  const int warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < p.slots; ++s) {
      sm90::barrier_init(shared.full + 8 * s, kTurnTurners);
      sm90::barrier_init(shared.empty + 8 * s, kTurnConsumers);
    }
    for (int s = 0; s < p.raw_slots; ++s) {
      sm90::barrier_init(shared.raw_full + 8 * s, kTurnVector<T>);
      sm90::barrier_init(shared.raw_empty + 8 * s, kTurnTurners);
    }
    for (int s = 0; s < p.weight_slots; ++s) {
      sm90::barrier_init(shared.weights_full + 8 * s, 1);
      sm90::barrier_init(shared.weights_empty + 8 * s, kTurnConsumers);
    }
    sm90::barrier_init_fence();
  }
  find_rows(p, shared.rows);
  find_columns(p, shared.places);
  for (int at = threadIdx.x * 16; at < p.slots * p.slot_bytes; at += kTurnThreads * 16) {
    store_shared(shared.slots + at, uint4{});
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  if (warp < kTurnConsumers) {
    sm90::more_registers<kTurnConsumerRegisters>();
    consume_turned<T, kColumns>(p, shared);
  } else {
    sm90::fewer_registers<kTurnProducerRegisters>();
    if (warp < kTurnConsumers + kTurnTurners) {
      turn_lines<T>(p, shared);
    } else {
      sm90::wait_for_earlier_launch();  // the kernel that packs
      copy_all<T>(p, shared);
    }
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
