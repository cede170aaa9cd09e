// SPDX-License-Identifier: BSD-3-Clause
// A block turns 64 bytes of out_channels of one in_channel: lines of them in, a run of
// (out_channel, tap) out.
#include "cuda/halo_weight/turn.h"

#include <algorithm>

#include "cuda/common/alignment.h"
#include "cuda/common/divisor.cuh"
#include "cuda/common/launch.h"
#include "cuda/halo_weight/turned.h"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::halo_weight {
namespace {

constexpr int kTurnThreads = 128, kLineBytes = 64, kLinePieces = kLineBytes / 16;

static_assert(kMaxTaps * kLineBytes <= 48 * 1024);

struct TurnParams {
  const uint4* source;
  void* result;
  int64_t stride[5];
  int row_pieces, out_channels, taps;
  Divisor by_taps, by_w, by_h;
  bool dense;  // runs are contiguous, and begin on 16 bytes
};

template <typename T>
__global__ void __launch_bounds__(kTurnThreads) turn_kernel(const __grid_constant__ TurnParams p) {
#if __CUDA_ARCH__ >= 900
  constexpr int kPiece = 16 / sizeof(T), kWidth = kLineBytes / sizeof(T);
  extern __shared__ uint4 turn_memory[];
  T* const tile = reinterpret_cast<T*>(turn_memory);  // [out_channel][tap]
  const int first = blockIdx.x * kWidth, in = blockIdx.y;
  sm90::wait_for_earlier_launch();  // the source is there
  const uint4* from =
      p.source + int64_t{in} * p.taps * p.row_pieces + static_cast<int>(blockIdx.x) * kLinePieces;
  const int pieces = min(kLinePieces, p.row_pieces - static_cast<int>(blockIdx.x) * kLinePieces);
#pragma unroll 2
  for (int i = threadIdx.x; i < p.taps * kLinePieces; i += kTurnThreads) {
    const int tap = i / kLinePieces, piece = i % kLinePieces;
    if (piece >= pieces) continue;
    const uint4 loaded = from[tap * p.row_pieces + piece];
    const uint32_t word[4] = {loaded.x, loaded.y, loaded.z, loaded.w};
    T* const to = tile + piece * kPiece * p.taps + tap;
#pragma unroll
    for (int e = 0; e < kPiece; ++e) {
      constexpr int kOfWord = 4 / sizeof(T);
      to[e * p.taps] = static_cast<T>(word[e / kOfWord] >> e % kOfWord * 16);
    }
  }
  __syncthreads();  // the tile is there
  const int count = min(kWidth, p.out_channels - first) * p.taps;
  T* const to = static_cast<T*>(p.result) + in * p.stride[0] + first * p.stride[1];
  const int whole = p.dense ? count / kPiece : 0;
#pragma unroll 2
  for (int i = threadIdx.x; i < whole; i += kTurnThreads) {
    reinterpret_cast<uint4*>(to)[i] = turn_memory[i];
  }
#pragma unroll 4
  for (int i = whole * kPiece + threadIdx.x; i < count; i += kTurnThreads) {
    int out = i;
    int plane = divide(&out, p.by_taps);
    const int w = divide(&plane, p.by_w), h = divide(&plane, p.by_h);
    to[out * p.stride[1] + plane * p.stride[2] + h * p.stride[3] + w * p.stride[4]] = tile[i];
  }
#endif
}

}  // namespace

void turn_weight(const Description& description, const void* rows, const TensorView& weight,
                 cudaStream_t stream) {
  const Problem& problem = description.problem;
  const Extent3& k = problem.kernel;
  const auto bytes = static_cast<int>(element_bytes(description.precision));
  TurnParams p{};
  p.source = static_cast<const uint4*>(rows);
  p.result = weight.data;
  std::copy(weight.stride.begin(), weight.stride.end(), p.stride);
  p.row_pieces = static_cast<int>(turned_row(description)) * bytes / 16;
  p.out_channels = static_cast<int>(problem.out_channels);
  p.taps = static_cast<int>(volume(k));
  p.by_taps = make_divisor(p.taps);
  p.by_w = make_divisor(k[2]);
  p.by_h = make_divisor(k[1]);
  p.dense = is_aligned(weight.data) && p.stride[0] * bytes % 16 == 0 && p.stride[1] == p.taps &&
            p.stride[2] == k[1] * k[2] && p.stride[3] == k[2] && p.stride[4] == 1;
  const Grid grid{dim3(static_cast<unsigned>(ceil_div(p.row_pieces, kLinePieces)),
                       static_cast<unsigned>(problem.in_channels)),
                  dim3(kTurnThreads), p.taps * kLineBytes, stream};
  // As bits.
  if (bytes == 2) {
    sm90::launch_overlapping("halo_weight turn_kernel", turn_kernel<uint16_t>, grid, p);
  } else {
    sm90::launch_overlapping("halo_weight turn_kernel", turn_kernel<uint32_t>, grid, p);
  }
}

}  // namespace convt3d::cuda::halo_weight
