// SPDX-License-Identifier: BSD-3-Clause
// The input as rows of channels, where TMA cannot address it as such (NCDHW, strided tensors, rows
// that are no multiple of 16 bytes):
//
//   packed[n][d][h][w][channels, padded with zeros to 16 bytes]
//
// A block turns kPackPositions x kPackPieces 16-byte pieces around in shared memory: it reads along
// positions, which are contiguous in NCDHW, and writes along channels.
#pragma once
#include <cstdint>

namespace convt3d::cuda::halo_gemm {

struct InputPack {
  const void* input;
  uint4* packed;
  int64_t stride[5];  // of the input
  int64_t positions;  // of all batch items
  int extent[3];
  int channels, pieces;  // of a position
};

inline constexpr int kTurnThreads = 256, kPackPositions = 128, kPackPieces = 8;

template <typename T>
__global__ void __launch_bounds__(kTurnThreads)
    pack_input_kernel(const __grid_constant__ InputPack p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kVector = 16 / sizeof(T), kAtOnce = kTurnThreads / kPackPositions;
  // One piece more than is used: eight lanes' pieces lie in different banks.
  __shared__ uint4 tile[kPackPositions][kPackPieces + 1];
  const int64_t first = blockIdx.x * int64_t{kPackPositions};
  const int first_piece = blockIdx.y * kPackPieces;
  const int pieces = min(kPackPieces, p.pieces - first_piece);
  const int here = static_cast<int>(min(p.positions - first, int64_t{kPackPositions}));
  const int lane = threadIdx.x % kPackPositions;
  if (lane < here) {
    const T* source = static_cast<const T*>(p.input);
    int64_t rest = first + lane;
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      const int64_t next = rest / p.extent[a];
      source += (rest - next * p.extent[a]) * p.stride[2 + a];
      rest = next;
    }
    source += rest * p.stride[0];
#pragma unroll
    for (int i = 0; i < kPackPieces / kAtOnce; ++i) {
      const int piece = i * kAtOnce + threadIdx.x / kPackPositions;
      const int channel = (first_piece + piece) * kVector;
      alignas(16) T value[kVector];
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        value[v] = channel + v < p.channels ? source[(channel + v) * p.stride[1]] : T();
      }
      tile[lane][piece] = *reinterpret_cast<const uint4*>(value);
    }
  }
  __syncthreads();  // all threads have written what others store
  for (int i = threadIdx.x; i < here * pieces; i += kTurnThreads) {
    const int position = i / pieces, piece = i - position * pieces;
    p.packed[(first + position) * p.pieces + first_piece + piece] = tile[position][piece];
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
