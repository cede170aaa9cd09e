// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of pointwise layers of stride 1, where positions of grad_output are those of input:
// TMA brings both as they lie, and each byte once.
//
//   grad_weight[ci, co] = sum over n, i of  grad_output[n, co, i] * input[n, ci, i]
//
//   M = out_channels, up to 64; N = in_channels, up to 64; K = positions (n, i)
//
// NCDHW: 128 bytes of positions a stage. An instruction is of 64 x 64 always. Rows that a job does
// not have are not loaded either: what lies there is of other stages, and its sums go nowhere.
//
// Channels last, of so few that TMA cannot address a position (14 of 16 bits): `folds` positions
// side by side, which are whole pieces of 16 bytes, are a row. All pairs of a row's elements are
// multiplied, and those of one position and the other added at the end:
//
//   S[j * out + co][j' * in + ci] = sum over rows,  grad_weight[ci, co] = sum over j of S[..][..],
//   j' = j
#pragma once
#include <cstdint>

#include "cuda/common/shared_memory.cuh"
#include "cuda/line_weight/pick_sums.cuh"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::line_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// The sums of folded positions, added, as an instruction of theirs alone leaves them.
__device__ __forceinline__ void unfold(const PickParams& p, float* shared, int first_in,
                                       float (&sum)[kPickChannels / 2]) {
  constexpr int kPitch = kPickChannels + 1;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int own_row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4, own_column = lane % 4 * 2;
  const auto row = [&](int i) { return own_row + i / 2 % 2 * 8; };
  const auto column = [&](int i) { return i / 4 * 8 + own_column + i % 2; };
  __syncthreads();  // nobody reads the stages
#pragma unroll
  for (int i = 0; i < kPickChannels / 2; ++i) shared[row(i) * kPitch + column(i)] = sum[i];
  __syncthreads();  // all sums are there
#pragma unroll
  for (int i = 0; i < kPickChannels / 2; ++i) {
    sum[i] = 0;
    if (row(i) >= p.lines || column(i) >= p.in_channels) continue;
    for (int fold = 0; fold < p.folds; ++fold) {
      const int at = fold * p.in_channels + column(i) - first_in;
      if (at < 0 || at >= kPickChannels) continue;
      sum[i] += shared[(fold * p.lines + row(i)) * kPitch + at];
    }
  }
}
#endif

template <Precision kPrecision, sm90::Major kMajor>
__global__ void __launch_bounds__(kPickThreads, kPointBlocks)
    point_kernel(const __grid_constant__ PickParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using T = ElementOf<kPrecision>;
  constexpr bool kRows = kMajor == sm90::Major::mn;  // of channels
  constexpr int kPositions = kPickRow / static_cast<int>(sizeof(T));
  constexpr uint32_t kStep = kRows ? kPickRow * 16 : 32;
  extern __shared__ __align__(1024) unsigned char pick_memory[];
  __shared__ __align__(8) uint64_t barriers[kMaxPointStages];
  const uint32_t memory = shared_address(pick_memory), full = shared_address(barriers);
  const bool first_thread = threadIdx.x == 0;
  sm90::let_next_launch_start();
  int split = static_cast<int>(blockIdx.x);
  const PickJob job(p, divide(&split, p.jobs));
  int tile = static_cast<int>(int64_t{p.tiles} * split / p.splits);
  const int end = static_cast<int>(int64_t{p.tiles} * (split + 1) / p.splits);
  const uint32_t output_at = p.job_channels * kPickRow;  // of a stage
  const auto matrix = [](uint32_t at) {
    return kRows ? sm90::descriptor(sm90::mn_descriptor_low(at, 0),
                                    sm90::mn_descriptor_high(kPickRow))
                 : sm90::swizzled_descriptor(at);
  };
  const auto copy = [&](int of, int stage) {
    int n = of;
    const int first = divide(&n, p.image_tiles) * kPositions;
    const uint32_t to = memory + stage * p.stage_bytes, barrier = full + 8 * stage;
    sm90::barrier_arrive_expect(barrier, p.stage_bytes);
    if constexpr (kRows) {
      sm90::load_box(to, &p.input, barrier, job.first_in, first, 0, 0, 0);
      sm90::load_box(to + output_at, &p.output_map, barrier, 0, first, 0, 0, 0);
    } else {
      sm90::load_box(to, &p.input, barrier, first, job.first_in, n, 0, 0);
      sm90::load_box(to + output_at, &p.output_map, barrier, first, job.first_line, n, 0, 0);
    }
  };
  if (first_thread) {
    for (int stage = 0; stage < p.stages; ++stage) sm90::barrier_init(full + 8 * stage, 1);
    sm90::barrier_init_fence();
    for (int i = 0; i < p.stages && tile + i < end; ++i) copy(tile + i, i);
  }
  __syncthreads();  // the barriers are there
  float sum[kPickChannels / 2] = {};
  sm90::Ring ring;
  int before = -1;  // the stage of the tile before
#pragma unroll 1
  for (; tile < end; ++tile) {
    sm90::barrier_wait(full + 8 * ring.stage, ring.parity);
    const uint32_t input = memory + ring.stage * p.stage_bytes;
    __syncwarp();  // the first thread may come later from its copies
    sm90::wgmma_fence();
#pragma unroll
    for (int step = 0; step < kPickRow / 32; ++step) {
      sm90::WgmmaShared<T, kPickChannels, kMajor>::run(
          sum, matrix(input + output_at + kStep * step), matrix(input + kStep * step));
    }
    sm90::wgmma_commit();
    sm90::wgmma_wait<1>();
    __syncthreads();  // nobody reads the tile before
    if (first_thread && before >= 0 && tile - 1 + p.stages < end) copy(tile - 1 + p.stages, before);
    before = ring.stage;
    ring.next(p.stages);
  }
  sm90::wgmma_wait<0>();
  sm90::pin(sum);
  if constexpr (kRows) {
    unfold(p, reinterpret_cast<float*>(pick_memory), job.first_in, sum);
  }
  store_picked(p, sum);
#endif
}

}  // namespace convt3d::cuda::line_weight
