// SPDX-License-Identifier: BSD-3-Clause
// A tensor as rows of channels, where TMA cannot address it as such (NCDHW, strided tensors, rows
// that are no multiple of 16 bytes):
//
//   packed[n][d][h][w][channels, padded with zeros to 16 bytes]
//
// A block turns kPackPositions x kPackPieces 16-byte pieces around in shared memory: it reads along
// positions, which are contiguous in NCDHW, and writes along channels.
#pragma once
#include <algorithm>
#include <cstdint>

#include "cuda/common/cuda_check.h"
#include "geometry/ceil_div.h"
#include "geometry/problem.h"
#include "plan/operands.h"

namespace convt3d::cuda::sm90 {

struct RowPack {
  const void* source;
  uint4* packed;
  int64_t stride[5];  // of the source
  int64_t positions;  // of all batch items
  int extent[3];
  int channels, pieces;  // of a position
};

inline constexpr int kPackThreads = 256, kPackPositions = 128, kPackPieces = 8;

template <typename T>
__global__ void __launch_bounds__(kPackThreads)
    pack_rows_kernel(const __grid_constant__ RowPack p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kVector = 16 / sizeof(T), kAtOnce = kPackThreads / kPackPositions;
  // One piece more than is used: eight lanes' pieces lie in different banks.
  __shared__ uint4 tile[kPackPositions][kPackPieces + 1];
  const int64_t first = blockIdx.x * int64_t{kPackPositions};
  const int first_piece = blockIdx.y * kPackPieces;
  const int pieces = min(kPackPieces, p.pieces - first_piece);
  const int here = static_cast<int>(min(p.positions - first, int64_t{kPackPositions}));
  const int lane = threadIdx.x % kPackPositions;
  if (lane < here) {
    const T* source = static_cast<const T*>(p.source);
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
  for (int i = threadIdx.x; i < here * pieces; i += kPackThreads) {
    const int position = i / pieces, piece = i - position * pieces;
    p.packed[(first + position) * p.pieces + first_piece + piece] = tile[position][piece];
  }
#endif
}

// T: of the element's size; zeros are zeros in every type. `packed` has 16-byte pieces.
template <typename T>
void pack_rows(const TensorView& view, int64_t batch, const Extent3& extent, int64_t channels,
               void* packed, cudaStream_t stream) {
  RowPack p{};
  p.source = view.data;
  p.packed = static_cast<uint4*>(packed);
  std::copy(view.stride.begin(), view.stride.end(), p.stride);
  std::copy(extent.begin(), extent.end(), p.extent);
  p.positions = batch * volume(extent);
  p.channels = static_cast<int>(channels);
  p.pieces = static_cast<int>(ceil_div(channels * static_cast<int64_t>(sizeof(T)), 16));
  const dim3 grid(static_cast<unsigned>(ceil_div(p.positions, kPackPositions)),
                  static_cast<unsigned>(ceil_div(p.pieces, kPackPieces)));
  pack_rows_kernel<T><<<grid, kPackThreads, 0, stream>>>(p);
  check(cudaGetLastError(), "pack_rows_kernel");
}

}  // namespace convt3d::cuda::sm90
