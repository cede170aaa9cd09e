// SPDX-License-Identifier: BSD-3-Clause
// The weight as blocks that one bulk copy brings into shared memory, ready for wgmma:
//
//   packed[column tile][residue][tap of d][chunk][tap of h, w][32-byte step]
//         [columns / 8][2][8 columns][16 bytes]
//
// Where the kernel marches there are no residues and taps of d: its taps kd are columns, slot kd.
// Columns are permuted so that a thread's sums are channels that it can store at once (runs.cuh).
// Channels beyond the tensor are zeros. TF32 is rounded to nearest even.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/runs.cuh"

namespace convt3d::cuda::halo_gemm {

// Limit: taps in shared memory at once, k5 and less. A block has 16 bytes of input channels and 8
// output channels.
inline constexpr int kPackTaps = 128, kPackOut = 8, kPackThreads = 128;

template <typename T>
__global__ void __launch_bounds__(kPackThreads)
    pack_kernel(const __grid_constant__ Params p, int slots, int channels, unsigned char* packed) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kVector = 16 / sizeof(T);
  __shared__ __align__(16) T tile[kVector][kPackOut * kPackTaps];
  const bool marching = slots > 1;
  const int taps = p.axis[0].kernel * p.axis[1].kernel * p.axis[2].kernel;
  const int first_in = blockIdx.x * kVector, first_out = blockIdx.y * kPackOut;
  const auto offset_of = [&](int tap, int(&at)[3]) {
    at[2] = tap % p.axis[2].kernel;
    at[1] = tap / p.axis[2].kernel % p.axis[1].kernel;
    at[0] = tap / p.axis[2].kernel / p.axis[1].kernel;
    return at[0] * p.weight_stride[2] + at[1] * p.weight_stride[3] + at[2] * p.weight_stride[4];
  };
  for (int first_tap = 0; first_tap < taps; first_tap += kPackTaps) {
    const int count = min(kPackTaps, taps - first_tap);
    __syncthreads();
    if (p.whole_weight && count == taps) {
      // An input channel's part is contiguous, in grad_input an output channel's: 16 bytes at a
      // time, several on their way.
      const int vectors = (p.reversed ? kVector : kPackOut) * taps / kVector;
      const int outer = p.reversed ? kPackOut : kVector;
      const auto* source = static_cast<const T*>(p.weight) + first_in * p.weight_stride[0] +
                           first_out * p.weight_stride[1];
      const int outs = p.out_channels - first_out, ins = p.in_channels - first_in;
#pragma unroll 4
      for (int i = threadIdx.x; i < outer * vectors; i += kPackThreads) {
        const int row = i / vectors, vector = i - row * vectors;
        alignas(16) T value[kVector] = {};
        if (p.reversed ? row < outs && ins > 0 : row < ins && outs > 0) {
          *reinterpret_cast<uint4*>(value) = reinterpret_cast<const uint4*>(
              source + row * p.weight_stride[p.reversed ? 1 : 0])[vector];
        }
        if (!p.reversed) {
          reinterpret_cast<uint4*>(tile[row])[vector] = *reinterpret_cast<const uint4*>(value);
          continue;
        }
#pragma unroll
        for (int v = 0; v < kVector; ++v) {
          const int at = vector * kVector + v;
          tile[at / taps][row * taps + at % taps] = value[v];
        }
      }
    } else {
      for (int i = threadIdx.x; i < kVector * kPackOut * count; i += kPackThreads) {
        const int tap = i % count, out = i / count % kPackOut, in = i / count / kPackOut;
        int at[3];
        const int64_t offset = offset_of(first_tap + tap, at);
        T value = T();
        if (first_in + in < p.in_channels && first_out + out < p.out_channels) {
          value = static_cast<const T*>(p.weight)[(first_in + in) * p.weight_stride[0] +
                                                  (first_out + out) * p.weight_stride[1] + offset];
        }
        tile[in][out * count + tap] = value;
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kPackOut * count; i += kPackThreads) {
      const int out = i % kPackOut, tap = i / kPackOut;
      int at[3];
      offset_of(first_tap + tap, at);
      Unit unit;
      unit.column_tile = (first_out + out) / channels;
      int residue[3], step[3];
#pragma unroll
      for (int a = 0; a < 3; ++a) {
        residue[a] = at[a] * p.axis[a].dilation % p.axis[a].residues;
        if (p.reversed) at[a] = p.axis[a].kernel - 1 - at[a];
        step[a] = (at[a] - p.axis[a].residue[residue[a]].first_tap) / p.axis[a].tap_step;
      }
      unit.set(p, residue[0], residue[1], residue[2]);
      const Taps of_residue(p, unit, marching, 0);
      const int piece = blockIdx.x, chunk = piece / (2 * p.steps);
      const int rank = step[1] * of_residue.w + step[2];
      const int plane = marching ? 0 : step[0];
      const int block = of_residue.block + (plane * p.chunks + chunk) * of_residue.count + rank;
      const int column = (marching ? at[0] * channels : 0) +
                         column_of_channel<T>((first_out + out) % channels, channels);
      const int columns = slots * channels;
      alignas(16) T value[kVector];
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        value[v] = tile[v][out * count + tap];
        if constexpr (sizeof(T) == 4) {
          value[v] = __uint_as_float(round_to_tf32(__float_as_uint(value[v])));
        }
      }
      const int64_t place = (int64_t{block} * p.steps + piece / 2 % p.steps) * columns * 32 +
                            column / 8 * 256 + piece % 2 * 128 + column % 8 * 16;
      *reinterpret_cast<uint4*>(packed + place) = *reinterpret_cast<const uint4*>(value);
    }
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
