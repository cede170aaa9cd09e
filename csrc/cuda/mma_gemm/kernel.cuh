// SPDX-License-Identifier: BSD-3-Clause
// Forward and grad_input as implicit GEMMs by mma.sync, compute capability 8.0 and later. Formula,
// mapping and items are those of implicit_gemm/kernel.cuh, tables, loads and stores its code:
//
//   M = 256 outputs of one residue, a box over {batch, d, h, w};  N = output channels;  K = taps x
//   input channels; a box's halo is loaded once per chunk of channels and read by all taps
//
//     halo [rows][steps * 32 + 16 bytes]          blocks of weights, one tap and chunk each
//       row q + shift(tap) --- ldmatrix ---> A x B <--- ldmatrix --- [step][columns][32 bytes]
//                                            |
//                     two m16 tiles of each warp, sums in registers
//
//   warps 0-7       consumers        32 rows each
//   warps 8-10      fill input       input_full: their threads -> consumers
//                                    input_empty: the 8 consumer warps -> their threads
//   warp 11         copies weights   weight_full: its lanes -> consumers
//                                    weight_empty: the 8 consumer warps -> its lanes
//
// What sm_90 alone has is not used: barriers of shared memory and cp.async are from 8.0 on, and all
// roles have the same registers. Steps of a chunk are a number of the call, so that a kernel is
// built for each precision and number of columns. supports() guarantees strides up to kMaxStride, a
// halo that fits, and 32-bit coordinates.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/implicit_gemm/items.cuh"
#include "cuda/implicit_gemm/params.cuh"
#include "cuda/mma_gemm/multiply.cuh"
#include "cuda/mma_gemm/tuning.h"
#include "cuda/sm90/parked_sums.cuh"

namespace convt3d::cuda::mma_gemm {

using implicit_gemm::Params;
using implicit_gemm::ResidueSet;
using implicit_gemm::Ring;
using implicit_gemm::Shared;

struct Role {
  static constexpr int kProducerThreads = 96;
  static constexpr int kPieces = 4;  // of 16 bytes, that it loads element by element at a time
};
inline constexpr int kThreads = implicit_gemm::kConsumerThreads + Role::kProducerThreads + 32;

// What consume() of implicit_gemm/items.cuh does for the products of a residue.
template <Precision kPrecision, int kColumns>
struct Multiply {
  static constexpr bool kParks = kPrecision == Precision::fp32;

  const Params& p;
  const Shared& shared;
  int steps;
  sm90::ParkedSums<implicit_gemm::kConsumerThreads> parked;

  __device__ Multiply(const Params& params, const Shared& memory, int chunk_steps)
      : p(params), shared(memory), steps(chunk_steps), parked(params.parking) {}

  __device__ __forceinline__ void start() { parked.start(); }
  __device__ __forceinline__ void finish(float (&sum)[kTiles][kColumns / 2]) {
    if constexpr (kParks) parked.collect(sum);
  }
  __device__ __forceinline__ void operator()(int first_tap, int taps, const uint32_t (&row)[kTiles],
                                             Ring* input, Ring* weight,
                                             float (&sum)[kTiles][kColumns / 2]) {
    constexpr int kParts = implicit_gemm::Operand<kPrecision>::kParts;
    constexpr int kPair = kParts == 2 || kColumns == 64 ? 1 : 2;  // steps at a time: registers
    constexpr uint32_t kStep = kColumns * 32;
    const uint32_t input_bytes = p.halo_rows * (steps * 32 + 16);
    const uint32_t part = steps * kStep, weight_bytes = p.weight_group * part * kParts;
    for (int chunk = 0; chunk < p.chunks; ++chunk) {
      uint32_t tap = shared_address(shared.shift + first_tap);
      uint32_t shift = load_shared(tap);
      sm90::barrier_wait(shared.input_full + 8 * input->stage, input->parity);
      const uint32_t stage = shared.input + input->stage * input_bytes;
      for (int left = taps; left > 0; left -= p.weight_group) {
        sm90::barrier_wait(shared.weight_full + 8 * weight->stage, weight->parity);
        uint32_t b = shared.weight + weight->stage * weight_bytes + threadIdx.x % 32 * 16;
        const uint32_t end = b + min(left, p.weight_group) * (part * kParts);
#pragma unroll 1
        while (b != end) {
          uint32_t from = stage + shift;
          tap += 4;
          shift = load_shared(tap);  // there is one beyond the last
          const uint32_t tap_end = b + part;
#pragma unroll 1
          while (b + (kPair - 1) * kStep < tap_end) {
            multiply<kPrecision, kColumns, kPair>(sum, row, from, b, part);
            from += kPair * 32;
            b += kPair * kStep;
          }
          if (kPair > 1 && b != tap_end) {
            multiply<kPrecision, kColumns, 1>(sum, row, from, b, part);
            b += kStep;
          }
          b += part * (kParts - 1);
        }
        if constexpr (kParks) {
          parked.add(min(left, p.weight_group) * steps, p.weight_group * steps, sum);
        }
        release(shared.weight_empty, *weight);
        weight->next(p.weight_stages);
      }
      if (p.item_residues == p.sum_residues) release(shared.input_empty, *input);
      input->next(p.input_stages);
    }
  }
};

template <Precision kPrecision, int kColumns>
__global__ void __launch_bounds__(kThreads, 1)
    mma_gemm_kernel(const __grid_constant__ Params p, int steps) {
#ifdef __CUDA_ARCH__
  constexpr int kArch = __CUDA_ARCH__ / 10;
  if constexpr (is_refused(kPrecision, kArch) || kColumns > max_columns(kPrecision, kArch)) return;
#endif
  using Op = implicit_gemm::Operand<kPrecision>;
  using implicit_gemm::kConsumerWarps;
  extern __shared__ __align__(128) unsigned char memory[];
  const int pitch = steps * 32 + 16, block = steps * (kColumns * 32 * Op::kParts);
  Shared shared(p, memory, p.weight_group * block, kTileRows);
  shared.fill_tables(p, kTileRows, pitch);
  if (threadIdx.x == 0) {
    for (int s = 0; s < p.input_stages; ++s) {
      sm90::barrier_init(shared.input_full + 8 * s, Role::kProducerThreads);
      sm90::barrier_init(shared.input_empty + 8 * s, kConsumerWarps);
    }
    for (int s = 0; s < p.weight_stages; ++s) {
      sm90::barrier_init(shared.weight_full + 8 * s, 32);
      sm90::barrier_init(shared.weight_empty + 8 * s, kConsumerWarps);
    }
  }
  __syncthreads();  // tables and barriers are there
  const int warp = threadIdx.x / 32;
  if (warp < kConsumerWarps) {
    Multiply<kPrecision, kColumns> multiply(p, shared, steps);
    implicit_gemm::consume<kPrecision, kColumns, kTiles>(p, shared, pitch, &multiply);
  } else if (warp < kConsumerWarps + Role::kProducerThreads / 32) {
    implicit_gemm::produce(
        p, shared, [&](const implicit_gemm::Inside& inside, int64_t first, int chunk, int stage) {
          const auto fill = [&]<int kSteps>() {
            implicit_gemm::fill<typename Op::T, kSteps, Role>(
                p, shared, inside, first, chunk, shared.input + stage * (p.halo_rows * pitch),
                shared.input_full + 8 * stage);
          };
          switch (steps) {
            case 1:
              return fill.template operator()<1>();
            case 2:
              return fill.template operator()<2>();
            case 3:
              return fill.template operator()<3>();
            default:
              return fill.template operator()<4>();
          }
        });
  } else {
    implicit_gemm::copy_weights(
        p, shared, block, [&](int stage, const unsigned char* source, int bytes) {
          const uint32_t target = shared.weight + stage * (p.weight_group * block);
          for (int at = threadIdx.x % 32 * 16; at < bytes; at += 32 * 16) {
            copy_async<16>(target + at, source + at, 16);
          }
          sm90::barrier_arrive_after_copies(shared.weight_full + 8 * stage);
        });
  }
}

}  // namespace convt3d::cuda::mma_gemm
