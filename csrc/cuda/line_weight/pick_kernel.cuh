// SPDX-License-Identifier: BSD-3-Clause
// grad_weight in NCDHW of pointwise layers with a stride, and of layers with stride 2 and two taps
// along w, without padding:
//
//   grad_weight[ci, co, t] = sum over n, i of  grad_output[n, co, s * i + d * t] * input[n, ci, i]
//
//   M = (line of grad_output: co, kd, kh; tap along w), 32 or 64; N = 64 ci; K = positions (n, i),
//   128 bytes of them a tile
//
//   input         TMA, tiles ahead: [ci][positions], swizzled
//   grad_output   lines start anywhere, and every s-th element (or pair) counts: a lane loads those
//                 of its positions one by one, while the tile before is multiplied, and puts them
//                 into the same order
//
// Memory is the limit, so that all that counts is how many loads are under way: blocks are small,
// and several on an SM. They split K; a second kernel adds their sums.
#pragma once
#include <cstdint>

#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/line_weight/pick_sums.cuh"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::line_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A lane's elements of grad_output of a tile: of a warp's lines, in 16 bits positions `lane` and
// `lane` + 32, in TF32 the first alone; one or two taps.
template <typename T, int kLoads, int kTaps>
struct PickWords {
  static constexpr bool kNarrow = sizeof(T) == 2;
  static constexpr int kHalves = kNarrow ? 2 : 1;
  using Bits = std::conditional_t<kNarrow, unsigned short, uint32_t>;
  using Pair = std::conditional_t<kNarrow, uint32_t, uint2>;
  using Word = std::conditional_t<kTaps == 1, Bits, Pair>;
  Word word[kLoads][kHalves];

  // `offsets`: of the warp's lines, in shared memory; negative where there is none.
  __device__ __forceinline__ void load(const PickParams& p, uint32_t offsets, int tile) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    int n = tile;
    const int first = divide(&n, p.image_tiles) * (32 * kHalves);
    const Bits* from[kHalves];
    bool there[kHalves];
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      const int at = first + lane + 32 * half;
      int d = at;
      int h = divide(&d, p.plane);
      const int w = divide(&h, p.line);
      from[half] = static_cast<const Bits*>(p.output) + n * p.output_batch +
                   (d * p.output_position[0] + h * p.output_position[1] + w * p.output_position[2]);
      there[half] = at < p.volume;
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int offset = static_cast<int>(load_shared(offsets + 4 * i));
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        word[i][half] = Word{};
        if (there[half] && offset >= 0) {
          word[i][half] = __ldg(reinterpret_cast<const Word*>(from[half] + offset));
        }
      }
    }
  }
  __device__ __forceinline__ void store(uint32_t tile) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const int byte = (lane + 32 * half) * static_cast<int>(sizeof(T));
#pragma unroll
        for (int tap = 0; tap < kTaps; ++tap) {
          const int row = (warp * kLoads + i) * kTaps + tap;
          const uint32_t to = tile + row * kPickRow + (byte / 16 ^ row % 8) * 16 + byte % 16;
          if constexpr (kNarrow) {
            const auto value = static_cast<unsigned short>(word[i][half] >> 16 * tap);
            asm volatile("st.shared.b16 [%0], %1;" ::"r"(to), "h"(value) : "memory");
          } else {
            uint32_t value;
            if constexpr (kTaps == 1) {
              value = word[i][half];
            } else {
              value = tap == 0 ? word[i][half].x : word[i][half].y;
            }
            asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(round_to_tf32(value)) : "memory");
          }
        }
      }
    }
  }
};

#endif

template <Precision kPrecision, int kLoads, int kTaps>
__global__ void __launch_bounds__(kPickThreads, pick_blocks(kLoads))
    pick_kernel(const __grid_constant__ PickParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using T = ElementOf<kPrecision>;
  constexpr int kPositions = kPickRow / static_cast<int>(sizeof(T));
  constexpr int kLines = pick_lines(kLoads), kRows = kLines * kTaps;
  extern __shared__ __align__(1024) unsigned char pick_memory[];
  __shared__ __align__(8) uint64_t barriers[kPickStages];
  __shared__ int offsets[kLines];
  const uint32_t stages = shared_address(pick_memory), full = shared_address(barriers);
  const int thread = static_cast<int>(threadIdx.x);
  sm90::let_next_launch_start();
  int split = static_cast<int>(blockIdx.x);
  const PickJob job(p, divide(&split, p.jobs));
  int tile = static_cast<int>(int64_t{p.tiles} * split / p.splits);
  const int end = static_cast<int>(int64_t{p.tiles} * (split + 1) / p.splits);
  const auto copy = [&](int of, int stage) {
    int n = of;
    const int first = divide(&n, p.image_tiles) * kPositions;
    sm90::barrier_arrive_expect(full + 8 * stage, kPickTileBytes);
    sm90::load_box(stages + stage * kPickTileBytes, &p.input, full + 8 * stage, first, job.first_in,
                   n, 0, 0);
  };
  if (thread < kLines) {
    const PickLine line(p, job.first_line + thread);
    const auto offset = static_cast<int>(line.channel * p.output_channel) +
                        line.d * p.output_tap[0] + line.h * p.output_tap[1];
    offsets[thread] = job.first_line + thread < p.lines ? offset : -1;
  }
  if (thread == 0) {
    for (int stage = 0; stage < kPickStages; ++stage) sm90::barrier_init(full + 8 * stage, 1);
    sm90::barrier_init_fence();
    for (int i = 0; i < kPickStages && tile + i < end; ++i) copy(tile + i, i);
  }
  uint32_t own = stages + kPickStages * kPickTileBytes, other = own + kPickTileBytes;
  if constexpr (kRows < kPickChannels) {  // rows that nobody writes
    for (int at = thread * 16; at < 2 * kPickTileBytes; at += kPickThreads * 16) {
      if (at % kPickTileBytes >= kRows * kPickRow) store_shared(own + at, uint4{0, 0, 0, 0});
    }
  }
  __syncthreads();  // offsets and barriers are there
  const uint32_t own_offsets = shared_address(offsets) + thread / 32 * kLoads * 4;
  PickWords<T, kLoads, kTaps> words;
  words.load(p, own_offsets, tile);
  float sum[kPickChannels / 2] = {};
  sm90::Ring ring;
  int before = kPickStages;  // the stage of the tile before
#pragma unroll 1
  for (; tile < end; ++tile) {
    words.store(own);
    if (tile + 1 < end) words.load(p, own_offsets, tile + 1);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // elements -> wgmma
    __syncthreads();  // the tile is there, and nobody reads the tile before
    if (thread == 0 && before < kPickStages && tile - 1 + kPickStages < end) {
      copy(tile - 1 + kPickStages, before);
    }
    before = ring.stage;
    sm90::barrier_wait(full + 8 * ring.stage, ring.parity);
    sm90::wgmma_fence();
#pragma unroll
    for (int step = 0; step < kPickRow / 32; ++step) {
      sm90::WgmmaShared<T, kPickChannels>::run(
          sum, sm90::swizzled_descriptor(own + 32 * step),
          sm90::swizzled_descriptor(stages + ring.stage * kPickTileBytes + 32 * step));
    }
    sm90::wgmma_commit();
    sm90::wgmma_wait<0>();
    const uint32_t last = own;
    own = other;
    other = last;
    ring.next(kPickStages);
  }
  store_picked(p, sum);
#endif
}

}  // namespace convt3d::cuda::line_weight
