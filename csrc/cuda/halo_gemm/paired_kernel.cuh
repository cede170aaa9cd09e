// SPDX-License-Identifier: BSD-3-Clause
// Forward into NCDHW with a stride of 2 along w, of kernel.cuh's formula and flat positions, the
// other way round:
//
//   M = output channels, weights as A      N = positions, input as B      K = input channels
//
// so that a lane holds neighbours of a line, both residues of w, and stores them from registers
// (paired_store.cuh). Rows of A, in blocks of 64 for a tap of h and a shift of w:
//
//   kMatrices 1   32 channels: of each 16 rows 8 are of the one residue, 8 of the other; zeros
//                 where the shift is no tap of a residue (paired_special.cuh)
//   kMatrices 2   64 channels, a matrix of sums for each residue
//
//   stage   | lines of input, 64 bytes of channels |  weights |   of one tap of d; ring of stages
//                |  any row: taps of h and w             |
//                +------------- wgmma -------------------+
//             warpgroup 0: 256 / kMatrices positions, warpgroup 1: the next ones
//
//   warpgroups 0, 1   consumers   full: the bytes of boxes, and of weights -> consumers
//   two warps more    producers   empty: all consumer warps -> producers (paired_load.cuh)
//
// A unit is a tile of positions of one residue of d and h. supports() guarantees: groups 1,
// positions below 2^30, stages that fit, chains of at most sm90/chain.h's length; launch(): rows of
// input that TMA can address.
#pragma once
#include "cuda/halo_gemm/paired_load.cuh"
#include "cuda/halo_gemm/paired_special.cuh"
#include "cuda/halo_gemm/paired_store.cuh"
#include "cuda/halo_gemm/paired_wgmma.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ __forceinline__ uint64_t paired_descriptor(uint32_t address) {
  return sm90::descriptor(address >> 4 | 1u << 16, sm90::mn_descriptor_high(kPairedRowBytes));
}

// The products of a stage for a matrix of sums. `a` and `b` describe its first block and a
// warpgroup's first row.
template <typename T, int kColumns>
__device__ __forceinline__ void multiply_paired(const Params& p, const PairedTaps& taps, int taps_h,
                                                int step_w, uint64_t* a, uint64_t b,
                                                float (&sum)[kColumns / 2]) {
  constexpr int kRow = kPairedRowBytes >> 4, kBlock = kPairedBlockBytes >> 4;
  const int of_line = p.axis[1].input_step * p.pitch * kRow;
  const int to_line = of_line - taps.count * step_w * kRow;
  b += taps.first * kRow + (taps_h - 1) * of_line;
  int left = taps_h * taps.count, left_w = taps.count;
#pragma unroll 1
  do {
    sm90::wgmma_fence();
#pragma unroll
    for (int s = 0; s < kPairedSteps; ++s) {
      PairedWgmma<T, kColumns>::run(sum, *a + 2 * s, b + 2 * s);
    }
    *a += kBlock;
    b -= step_w * kRow;
    if (--left_w == 0) {
      left_w = taps.count;
      b -= to_line;
    }
  } while (--left > 0);
}

template <typename T, int kMatrices>
__device__ __forceinline__ void consume_paired(const Params& p, const PairedParams& q,
                                               const PairedShared& shared) {
  constexpr int kColumns = paired_columns(kMatrices), kSums = kColumns / 2;
  const int group = threadIdx.x / 128;
  const uint32_t table = shared.places + group * (paired_table_bytes() / kPairedGroups);
  sm90::Ring ring;
  Unit unit;
  for (int round = 0; PairedWalk::next(p, q, round, &unit); ++round) {
    list_places<kColumns, sizeof(T)>(p, q, unit, table);
    const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    const auto channel_of = [&](int i) {
      const int of_warp = kMatrices == 1 ? 8 * warp : 16 * warp + 8 * i;
      return unit.column_tile * paired_channels(kMatrices) + of_warp + lane / 4;
    };
    // In 16 bits sums start with the bias. In 32 ptxas would store them from the registers of
    // wgmma, and spill.
    constexpr bool kStartWithBias = sizeof(T) == 2;
    float sum[kMatrices][kSums];
#pragma unroll
    for (int m = 0; m < kMatrices; ++m) {
      const float bias[2] = {shared.bias[channel_of(0)], shared.bias[channel_of(kMatrices - 1)]};
#pragma unroll
      for (int i = 0; i < kSums; ++i) sum[m][i] = kStartWithBias ? bias[i / 2 % 2] : 0;
    }
    int line = unit.first;
    const int row = divide(&line, q.pitch) + group * kColumns;
    unit.for_planes<false, 1>(p, [&](int, int chunk, int end) {
#pragma unroll 1
      for (; chunk < end; ++chunk) {
        sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
        const uint32_t stage = shared.stages + ring.stage * q.stage_bytes;
        const int taps_h = unit.axis(p, 1).num_taps;
        uint64_t a = paired_descriptor(stage + p.stage_bytes);
        const uint64_t b = paired_descriptor(stage + row * kPairedRowBytes);
        multiply_paired<T, kColumns>(p, q.taps[0], taps_h, q.step_w, &a, b, sum[0]);
        if constexpr (kMatrices > 1) {
          multiply_paired<T, kColumns>(p, q.taps[1], taps_h, q.step_w, &a, b, sum[1]);
        }
        sm90::wgmma_commit();
        sm90::wgmma_wait<0>();
        sm90::pin(sum);
        sm90::release(shared.empty, ring);
        ring.next(q.stages);
      }
    });
    sync_warpgroup();  // the table is written -> read
#pragma unroll
    for (int i = 0; i < kMatrices; ++i) {
      const int channel = channel_of(i);
      char* const output =
          static_cast<char*>(p.output) + channel * p.output_stride[1] * int64_t{sizeof(T)};
      const bool there = channel < p.out_channels;
      const float bias = kStartWithBias ? 0 : shared.bias[channel];
      typename PairOf<T>::type special{};
      const auto four = [&](int j) {
        const float* const a = &sum[0][4 * j + 2 * i];
        const float* const b = kMatrices == 1 ? a + 2 : &sum[kMatrices - 1][4 * j + 2 * i];
        const auto value = [&](float of) { return kStartWithBias ? of : of + bias; };
        const Four<T> result = four_of<T>(value(a[0]), value(b[0]), value(a[1]), value(b[1]));
        if constexpr (kMatrices == 1) watch(result, &special);
        return result;
      };
      if constexpr (sizeof(T) == 2) {
        // All are rounded first: stores that took turns in few registers would wait for each other.
        Four<T> rounded[kColumns / 8];
#pragma unroll
        for (int j = 0; j < kColumns / 8; ++j) {
          rounded[j] = four(j);
          asm volatile("" : "+r"(rounded[j].word[0]), "+r"(rounded[j].word[1]));
        }
        store_channel<T, kColumns>(q, table, output, there, [&](int j) { return rounded[j]; });
      } else {
        store_channel<T, kColumns>(q, table, output, there, four);
      }
      if constexpr (kMatrices == 1) {
        if (q.leaks && __any_sync(~0u, is_special(special))) {
          __syncwarp();  // stored -> read
          if (there) {
            compute_again<T, kColumns>(p, q, unit, table, output, channel, shared.bias[channel]);
          }
        }
      }
    }
  }
}

#endif

template <typename T, int kMatrices>
__global__ void __launch_bounds__(kPairedThreads, 1)
    paired_kernel(const __grid_constant__ Params p, const __grid_constant__ PairedParams q,
                  const __grid_constant__ PairedMaps maps) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(128) unsigned char memory[];
  constexpr int kConsumers = kPairedGroups * 4;  // warps
  const PairedShared shared(q, memory, paired_channels(kMatrices));
  const int warp = threadIdx.x / 32, channels = p.column_tiles * paired_channels(kMatrices);
  if (threadIdx.x == 0) {
    for (int s = 0; s < q.stages; ++s) {
      sm90::barrier_init(shared.full + 8 * s, 2);
      sm90::barrier_init(shared.empty + 8 * s, kConsumers);
    }
    sm90::barrier_init_fence();
  }
  for (int i = threadIdx.x; i < channels; i += kPairedThreads) {
    const bool there = p.bias && i < p.out_channels;
    shared.bias[i] = there ? widen(static_cast<const T*>(p.bias)[i * p.bias_stride]) : 0.0f;
  }
  __syncthreads();
  if (warp < kConsumers) {
    sm90::more_registers<kPairedConsumerRegisters>();
    consume_paired<T, kMatrices>(p, q, shared);
  } else {
    sm90::fewer_registers<kPairedProducerRegisters>();
    sm90::wait_for_earlier_launch();  // the kernels that pack
    if (warp == kConsumers) {
      load_paired_input(p, q, shared, maps);
    } else if (threadIdx.x == kConsumers * 32 + 32) {
      copy_paired_weights(p, q, shared);
    }
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
