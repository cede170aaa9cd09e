// SPDX-License-Identifier: BSD-3-Clause
// A block turns 32 out_channels of one in_channel: lines of 64 bytes in, runs of (out_channel, tap)
// out.
#include "cuda/halo_weight/turn.h"

#include <algorithm>

#include "cuda/common/divisor.cuh"
#include "cuda/halo_weight/tuning.h"
#include "cuda/sm90/overlapping_launch.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_weight {
namespace {

constexpr int kTurnThreads = 128, kTurnWidth = 32;
constexpr int kTurnPitch = kTurnWidth + 2;  // a column's elements lie in different banks

static_assert(kMaxTaps * kTurnPitch * kElementBytes <= 48 * 1024);

struct TurnParams {
  const uint32_t* source;
  uint16_t* result;
  int64_t stride[5];
  int row_words, out_channels, taps;
  Divisor by_taps, by_w, by_h;
};

__global__ void __launch_bounds__(kTurnThreads) turn_kernel(const __grid_constant__ TurnParams p) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(4) uint16_t tile[];
  const int first = blockIdx.x * kTurnWidth, in = blockIdx.y;
  constexpr int kWords = kTurnWidth / 2;
  sm90::wait_for_earlier_launch();  // the source is there
  const uint32_t* from = p.source + int64_t{in} * p.taps * p.row_words + first / 2;
  const int words = min(kWords, p.row_words - first / 2);
#pragma unroll 4
  for (int i = threadIdx.x; i < p.taps * kWords; i += kTurnThreads) {
    const int tap = i / kWords, word = i % kWords;
    if (word < words) {
      *reinterpret_cast<uint32_t*>(tile + tap * kTurnPitch + 2 * word) =
          from[tap * p.row_words + word];
    }
  }
  __syncthreads();  // the tile is there
  const int count = min(kTurnWidth, p.out_channels - first) * p.taps;
  uint16_t* const to = p.result + in * p.stride[0] + first * p.stride[1];
#pragma unroll 4
  for (int i = threadIdx.x; i < count; i += kTurnThreads) {
    int out = i;
    const int tap = divide(&out, p.by_taps);
    int plane = tap;
    const int w = divide(&plane, p.by_w), h = divide(&plane, p.by_h);
    to[out * p.stride[1] + plane * p.stride[2] + h * p.stride[3] + w * p.stride[4]] =
        tile[tap * kTurnPitch + out];
  }
#endif
}

}  // namespace

void turn_weight(const Turn& turn, cudaStream_t stream) {
  const Problem& problem = turn.problem;
  TurnParams p{};
  p.source = static_cast<const uint32_t*>(turn.source);
  p.result = static_cast<uint16_t*>(turn.weight.data);
  std::copy(turn.weight.stride.begin(), turn.weight.stride.end(), p.stride);
  p.row_words = turn.row / 2;
  p.out_channels = static_cast<int>(problem.out_channels);
  p.taps = static_cast<int>(volume(problem.kernel));
  p.by_taps = make_divisor(p.taps);
  p.by_w = make_divisor(problem.kernel[2]);
  p.by_h = make_divisor(problem.kernel[1]);
  const Grid grid{dim3(static_cast<unsigned>(ceil_div(p.out_channels, kTurnWidth)),
                       static_cast<unsigned>(problem.in_channels)),
                  dim3(kTurnThreads), p.taps * kTurnPitch * kElementBytes, stream};
  sm90::launch_overlapping("halo_weight turn_kernel", turn_kernel, grid, p);
}

}  // namespace convt3d::cuda::halo_weight
