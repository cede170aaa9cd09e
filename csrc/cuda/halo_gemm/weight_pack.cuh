// SPDX-License-Identifier: BSD-3-Clause
// The weight as blocks that one bulk copy brings into shared memory, ready for wgmma:
//
//   packed[column tile][residue][tap of d][chunk][tap of h, w][32-byte step]
//         [columns / 8][2][8 columns][16 bytes]
//
// Where the kernel marches there are no residues and taps of d: its taps kd are columns, slot kd.
// Columns are permuted so that a thread's sums are channels that it can store at once (runs.cuh).
// Channels beyond the tensor are zeros. TF32 is rounded to nearest even.
//
// A thread block turns 16 bytes of input channels x some output channels (kPackOut) x all taps
// around in shared memory. 32 output channels are whole lines of 128 bytes of the result, fewer
// keep more SMs busy.
#pragma once
#include <array>

#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/runs.cuh"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::halo_gemm {

inline constexpr int kPackThreads = 128;
inline constexpr int kPackBlocks = 2;  // at least, of an SM
inline constexpr std::array<int, 3> kPackOut{32, 16, 8};
// Limits of shared memory: output channels x taps at once, and taps.
inline constexpr int kPackElements = 2304, kPackTaps = 256;
// Elements from an output channel to the next: not all in one bank.
constexpr int pack_pitch(int taps, int vector) { return taps % 16 == 0 ? taps + vector : taps; }
constexpr int pack_taps_at_once(int outs, int vector) {
  const int fit = kPackElements / outs - vector;
  return fit < kPackTaps ? fit : kPackTaps;
}

struct WeightPack {
  const void* weight;
  unsigned char* packed;
  int64_t stride[5];  // of input channels, output channels and taps; of the product
  WeightOrder order;
  int slots, channels;  // of a column tile
  int outs;             // of a thread block, one of kPackOut
  bool in_order;        // columns are channels (fused_lines.cuh), else runs.cuh
};

// Loads tile[in][out * pitch + tap], `count` taps from `first_tap` on.
template <typename T, typename Offset>
__device__ __forceinline__ void load_taps(const Params& p, const WeightPack& pack, int first_in,
                                          int first_out, int first_tap, int count, int taps,
                                          const Offset& offset_of, T* tile) {
  constexpr int kVector = 16 / sizeof(T);
  const int pitch = pack_pitch(count, kVector);
  const T* const source = static_cast<const T*>(pack.weight);
  const int outs = min(pack.outs, p.out_channels - first_out);
  const int ins = min(kVector, p.in_channels - first_in);
  if (p.reversed && pack.order != WeightOrder::strided && count == taps) {
    // An output channel's part is contiguous, its input channels or its taps last.
    const int vectors = ins > 0 ? taps : 0;
    const bool taps_last = pack.order == WeightOrder::taps_last;
#pragma unroll 4
    for (int i = threadIdx.x; i < pack.outs * taps; i += kPackThreads) {
      const int out = i / taps, vector = i - out * taps;
      const int64_t at = taps_last ? first_in * pack.stride[0] + vector * kVector
                                   : vector * int64_t{p.in_channels} + first_in;
      alignas(16) T value[kVector];
      *reinterpret_cast<uint4*>(value) =
          out < outs && vector < vectors
              ? *reinterpret_cast<const uint4*>(source + (first_out + out) * pack.stride[1] + at)
              : uint4{};
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        const int in = taps_last ? (vector * kVector + v) / taps : v;
        const int tap = taps_last ? (vector * kVector + v) % taps : vector;
        tile[in * kPackElements + out * pitch + tap] = value[v];
      }
    }
  } else if (pack.order == WeightOrder::taps_last && count == taps && !p.reversed) {
    // An input channel's part is contiguous.
    const int vectors = pack.outs * taps / kVector, there = outs * taps / kVector;
#pragma unroll 4
    for (int i = threadIdx.x; i < kVector * vectors; i += kPackThreads) {
      const int in = i / vectors, vector = i - in * vectors;
      const T* const from = source + (first_in + in) * pack.stride[0] + first_out * pack.stride[1];
      const int at = vector * kVector;
      *reinterpret_cast<uint4*>(tile + in * kPackElements + at + at / taps * (pitch - taps)) =
          in < ins && vector < there ? reinterpret_cast<const uint4*>(from)[vector] : uint4{};
    }
  } else if (pack.order == WeightOrder::channels_last && !p.reversed) {
    // Output channels are contiguous.
    const int vectors = pack.outs / kVector, there = outs / kVector;
#pragma unroll 4
    for (int i = threadIdx.x; i < kVector * count * vectors; i += kPackThreads) {
      const int vector = i % vectors, tap = i / vectors % count, in = i / vectors / count;
      alignas(16) T value[kVector];
      *reinterpret_cast<uint4*>(value) =
          in < ins && vector < there
              ? *reinterpret_cast<const uint4*>(source + (first_in + in) * pack.stride[0] +
                                                (first_tap + tap) * int64_t{p.out_channels} +
                                                first_out + vector * kVector)
              : uint4{};
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        tile[in * kPackElements + (vector * kVector + v) * pitch + tap] = value[v];
      }
    }
  } else {
    for (int i = threadIdx.x; i < kVector * pack.outs * count; i += kPackThreads) {
      const int tap = i % count, out = i / count % pack.outs, in = i / count / pack.outs;
      T value = T();
      if (in < ins && out < outs) {
        value = source[(first_in + in) * pack.stride[0] + (first_out + out) * pack.stride[1] +
                       offset_of(first_tap + tap)];
      }
      tile[in * kPackElements + out * pitch + tap] = value;
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kPackThreads)
    pack_kernel(const __grid_constant__ Params p, const __grid_constant__ WeightPack pack) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  sm90::let_next_launch_start();
  constexpr int kVector = 16 / sizeof(T);
  __shared__ __align__(16) T tile[kVector * kPackElements];
  __shared__ int block_of[kPackTaps], slot_of[kPackTaps];
  const bool marching = pack.slots > 1;
  const int taps = p.axis[0].kernel * p.axis[1].kernel * p.axis[2].kernel;
  const int first_in = blockIdx.x * kVector, first_out = blockIdx.y * pack.outs;
  const int piece = blockIdx.x, chunk = piece / (2 * p.steps), columns = pack.slots * pack.channels;
  const int tile_blocks = (marching ? 1 : p.axis[0].kernel) * p.axis[1].kernel * p.axis[2].kernel *
                          p.chunks;  // of a column tile
  const auto split = [&](int tap, int(&at)[3]) {
    at[2] = tap % p.axis[2].kernel;
    at[1] = tap / p.axis[2].kernel % p.axis[1].kernel;
    at[0] = tap / p.axis[2].kernel / p.axis[1].kernel;
  };
  const auto offset_of = [&](int tap) {
    int at[3];
    split(tap, at);
    return at[0] * pack.stride[2] + at[1] * pack.stride[3] + at[2] * pack.stride[4];
  };
  const int at_once = pack_taps_at_once(pack.outs, kVector);
  for (int first_tap = 0; first_tap < taps; first_tap += at_once) {
    const int count = min(at_once, taps - first_tap);
    __syncthreads();  // the taps before have been read
    for (int tap = threadIdx.x; tap < count; tap += kPackThreads) {
      int at[3], residue[3], step[3];
      split(first_tap + tap, at);
#pragma unroll
      for (int a = 0; a < 3; ++a) {
        residue[a] = at[a] * p.axis[a].dilation % p.axis[a].residues;
        if (p.reversed) at[a] = p.axis[a].kernel - 1 - at[a];
        step[a] = (at[a] - p.axis[a].residue[residue[a]].first_tap) / p.axis[a].tap_step;
      }
      Unit unit;
      unit.column_tile = 0;
      unit.set(p, residue[0], residue[1], residue[2]);
      const Taps of_residue(p, unit, marching, 0);
      const int plane = marching ? 0 : step[0];
      block_of[tap] = of_residue.block + (plane * p.chunks + chunk) * of_residue.count +
                      step[1] * of_residue.w + step[2];
      slot_of[tap] = marching ? at[0] * pack.channels : 0;
    }
    load_taps(p, pack, first_in, first_out, first_tap, count, taps, offset_of, tile);
    __syncthreads();  // all of the tile has been written
    for (int i = threadIdx.x; i < pack.outs * count; i += kPackThreads) {
      const int out = i % pack.outs, tap = i / pack.outs;
      const int column_tile = (first_out + out) / pack.channels;
      if (column_tile >= p.column_tiles) continue;
      const int channel = first_out + out - column_tile * pack.channels;
      const int column =
          slot_of[tap] + (pack.in_order ? channel : column_of_channel<T>(channel, pack.channels));
      alignas(16) T value[kVector];
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        value[v] = tile[v * kPackElements + out * pack_pitch(count, kVector) + tap];
        if constexpr (sizeof(T) == 4) {
          value[v] = __uint_as_float(round_to_tf32(__float_as_uint(value[v])));
        }
      }
      const int64_t block = block_of[tap] + int64_t{column_tile} * tile_blocks;
      const int64_t place = (block * p.steps + piece / 2 % p.steps) * columns * 32 +
                            column / 8 * 256 + piece % 2 * 128 + column % 8 * 16;
      *reinterpret_cast<uint4*>(pack.packed + place) = *reinterpret_cast<const uint4*>(value);
    }
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
