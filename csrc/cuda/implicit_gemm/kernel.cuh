// SPDX-License-Identifier: BSD-3-Clause
// Forward as an implicit GEMM on the tensor cores of sm_90a,
//
//   output[n, co, s q + r] = bias[co] + sum over taps t of residue r, ci:
//                            input[n, ci, q + shift(t)] * weight[ci, co, t]
//
// and grad_input, which reads grad_output by residues and sums over all of them:
//
//   grad_input[n, ci, i] = sum over residues r, taps t of r, co:
//                          grad_output[n, co, s (i + shift(t)) + r] * weight[ci, co, t]
//
// In what follows, as in the code, names are forward's: grad_input's input is grad_output.
//
// M = 256 outputs of one residue, a box over {batch, d, h, w};  N = output channels;  K = taps x
// input channels. Every tap of a residue reads the same input, shifted by whole positions: the box
// with its halo is loaded once per chunk of channels and read by all taps through ldmatrix, whose
// row addresses are free: no position is multiplied that is not in the box. Weights come in blocks
// of one tap and one chunk.
//
//   warps 0-3, 4-7  consumers        128 rows each: A in registers, B in shared memory
//   3 or 7 warps    fill input       input_full: their threads -> consumers
//                                    input_empty: the 8 consumer warps -> their threads
//   last warp       copies weights   weight_full: bytes of the copy -> consumers
//                                    weight_empty: the 8 consumer warps -> the copying lane
//
// The two consumer warpgroups wait for their own wgmmas at every step; each one's waits are the
// other's turn. Where all chunks of a tile fit into the input stages, an item is the tile in all
// residues, one after another; else in one residue. In grad_input an item is the tile, and its sums
// stay in registers from one residue's halo to the next's. A stage of input has halo_rows rows of
// steps * 32 + 16 bytes: the 16 keep ldmatrix free of bank conflicts. supports() guarantees
// strides up to kMaxStride, a halo that fits, and 32-bit coordinates. A tile is of one group, whose
// channels `in_channels` and `out_channels` count.
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/implicit_gemm/epilogue.cuh"
#include "cuda/implicit_gemm/items.cuh"
#include "cuda/implicit_gemm/operand.cuh"
#include "cuda/implicit_gemm/params.cuh"
#include "cuda/implicit_gemm/producer.cuh"
#include "cuda/sm90/parked_sums.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::implicit_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The products of one residue: chunks x taps steps. While the wgmmas of a step run, A of the next
// is loaded, into other registers where there are enough. A step is short, 100 to 500 clocks, so
// what it does besides counts: taps come from a table, and barriers are passed once a group of
// blocks.
template <Precision kPrecision, int kColumns, int kSteps, int kTiles>
__device__ __forceinline__ void accumulate(const Params& p, const Shared& shared, int first_tap,
                                           int taps, const uint32_t (&row)[kTiles], Ring* input,
                                           Ring* weight, sm90::ParkedSums<kConsumerThreads>* parked,
                                           float (&sum)[kTiles][kColumns / 2]) {
  using Op = Operand<kPrecision>;
  constexpr int kPitch = kSteps * 32 + 16;
  constexpr uint32_t kBlock = kSteps * kColumns * 32 * Op::kParts;
  constexpr bool kSplit = Op::kParts == 2;
  constexpr bool kTwo = kTiles * (kColumns / 2 * Op::kParts + kSteps * 4 * (kSplit ? 3 : 2)) <=
                        Roles<kColumns>::kOperandRegisters;
  uint32_t a[kTwo ? 2 : 1][kTiles][kSteps][4];
  float part[kTiles][kColumns / 2];
  const int* const first = shared.shift + first_tap;
  for (int chunk = 0; chunk < p.chunks; ++chunk) {
    sm90::barrier_wait(shared.input_full + 8 * input->stage, input->parity);
    uint32_t from[kTiles];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      from[m] = shared.input + input->stage * (p.halo_rows * kPitch) + row[m];
    }
    const int* tap = first;
    // Beyond the last tap it loads some row that nobody multiplies.
    const auto load = [&](uint32_t(&to)[kTiles][kSteps][4]) {
      const uint32_t shift = *tap++;
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int s = 0; s < kSteps; ++s) load_matrices(to[m][s], from[m] + shift + s * 32);
      }
    };
    load(a[0]);
    for (int left = taps; left > 0; left -= p.weight_group) {
      sm90::barrier_wait(shared.weight_full + 8 * weight->stage, weight->parity);
      uint64_t b = sm90::b_descriptor(shared.weight + weight->stage * (p.weight_group * kBlock));
      const auto step = [&](auto& current, auto& next) {
        issue<kPrecision, kColumns, kSteps, kTiles>(sum, part, current, b);
        b += kBlock >> 4;
        // Who else may still read `next`: the step before.
        if constexpr (kTwo && !kSplit) sm90::wgmma_wait<1>();
        if constexpr (!kTwo) sm90::wgmma_wait<0>();
        load(next);
        if constexpr (kTwo && kSplit) sm90::wgmma_wait<0>();
        if constexpr (kSplit) {
#pragma unroll
          for (int m = 0; m < kTiles; ++m) {
#pragma unroll
            for (int j = 0; j < kColumns / 2; ++j) sum[m][j] += part[m][j];
          }
        }
      };
      // Groups are even, but for the last one of a chunk.
      int blocks = min(left, p.weight_group);
      if constexpr (kTwo) {
        for (; blocks > 1; blocks -= 2) {
          step(a[0], a[1]);
          step(a[1], a[0]);
        }
      }
#pragma unroll 1
      for (; blocks > 0; --blocks) step(a[0], a[kTwo]);
      sm90::wgmma_wait<0>();
      if constexpr (can_park(kPrecision, kColumns, kSteps)) {
        constexpr int kChain = kSplit ? 1 : kSteps;  // of a block
        parked->add(min(left, p.weight_group) * kChain, p.weight_group * kChain, sum);
      }
      release(shared.weight_empty, *weight);
      weight->next(p.weight_stages);
    }
    if (p.item_residues == p.sum_residues) release(shared.input_empty, *input);
    input->next(p.input_stages);
  }
}

template <Precision kPrecision, int kColumns, int kSteps>
struct Multiply {
  static constexpr int kTiles = 2 / Operand<kPrecision>::kParts;  // of 64 rows

  const Params& p;
  const Shared& shared;
  sm90::ParkedSums<kConsumerThreads> parked;

  __device__ Multiply(const Params& params, const Shared& memory)
      : p(params), shared(memory), parked(params.parking) {}

  using Sums = float (&)[kTiles][kColumns / 2];
  __device__ __forceinline__ void start() { parked.start(); }
  __device__ __forceinline__ void operator()(int first_tap, int taps, const uint32_t (&row)[kTiles],
                                             Ring* input, Ring* weight, Sums sum) {
    accumulate<kPrecision, kColumns, kSteps, kTiles>(p, shared, first_tap, taps, row, input, weight,
                                                     &parked, sum);
  }
  __device__ __forceinline__ void finish(Sums sum) {
    if constexpr (can_park(kPrecision, kColumns, kSteps)) parked.collect(sum);
  }
};

#endif

template <Precision kPrecision, int kColumns, int kSteps>
__global__ void __launch_bounds__(Roles<kColumns>::kThreads, 1)
    implicit_gemm_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Op = Operand<kPrecision>;
  using Role = Roles<kColumns>;
  constexpr int kBlock = kSteps * kColumns * 32 * Op::kParts, kPitch = kSteps * 32 + 16;
  extern __shared__ __align__(128) unsigned char memory[];
  constexpr int kRows = kTileRows / Op::kParts;
  Shared shared(p, memory, p.weight_group * kBlock, kRows);
  shared.fill_tables(p, kRows, kPitch);
  const int warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < p.input_stages; ++s) {
      sm90::barrier_init(shared.input_full + 8 * s, Role::kProducerThreads);
      sm90::barrier_init(shared.input_empty + 8 * s, kConsumerWarps);
    }
    for (int s = 0; s < p.weight_stages; ++s) {
      sm90::barrier_init(shared.weight_full + 8 * s, 1);
      sm90::barrier_init(shared.weight_empty + 8 * s, kConsumerWarps);
    }
    sm90::barrier_init_fence();
  }
  __syncthreads();
  if (warp < kConsumerWarps) {
    sm90::more_registers<Role::kConsumerRegisters>();
    Multiply<kPrecision, kColumns, kSteps> multiply(p, shared);
    consume<kPrecision, kColumns, multiply.kTiles>(p, shared, kPitch, &multiply);
  } else {
    sm90::fewer_registers<Role::kProducerRegisters>();
    if (warp < kConsumerWarps + Role::kProducerThreads / 32) {
      produce(p, shared, [&](const Inside& inside, int64_t first, int chunk, int stage) {
        fill<typename Op::T, kSteps, Role>(p, shared, inside, first, chunk,
                                           shared.input + stage * (p.halo_rows * kPitch),
                                           shared.input_full + 8 * stage);
      });
    } else if (threadIdx.x % 32 == 0) {
      copy_weights(p, shared, kBlock, [&](int stage, const unsigned char* source, int bytes) {
        const uint32_t full = shared.weight_full + 8 * stage;
        sm90::barrier_arrive_expect(full, bytes);
        sm90::bulk_copy(shared.weight + stage * (p.weight_group * kBlock), source, bytes, full);
      });
    }
  }
#endif
}

}  // namespace convt3d::cuda::implicit_gemm
