// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of pointwise layers of stride 1 in channels_last_3d and TF32: rows of channels, as
// TMA brings them. wgmma wants 32-bit operands with K contiguous, and K runs down these rows;
// mma.sync takes single elements from anywhere.
//
//   grad_weight[ci, co] = sum over n, i of  grad_output[n, co, i] * input[n, ci, i]
//
//   M = out_channels, up to 32; N = in_channels, up to 64; K = positions (n, i), 64 a stage
//
// input: boxes of 32 channels, swizzled. grad_output: rows of `folds` positions, which TMA can
// address where one has no multiple of 16 bytes; in shared memory positions follow each other.
// What an instruction reads beyond a position's channels are rows of sums that go nowhere.
//
// The warps of a block share a stage's positions, and add their sums in shared memory at the end.
#pragma once
#include <cstdint>

#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/line_weight/pick_sums.cuh"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"

namespace convt3d::cuda::line_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The products of eight positions: those of this lane, `quad` and four on, of input at `rows` and
// of grad_output at `output`.
template <int kRowTiles, int kParts>
__device__ __forceinline__ void multiply_rows(uint32_t rows, uint32_t output, int pitch,
                                              float (&sum)[kRowTiles][kPointPart / 8 * kParts][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, quad = lane % 4, row = lane / 4;
  uint32_t a[kRowTiles][4];
#pragma unroll
  for (int i = 0; i < 4 * kRowTiles; ++i) {
    a[i / 4][i % 4] =
        load_shared(output + (quad + i / 2 % 2 * 4) * pitch + (i / 4 * 16 + i % 2 * 8 + row) * 4);
  }
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
#pragma unroll
    for (int i = 0; i < kPointPart / 8; ++i) {
      const uint32_t at = rows + part * (kPointPositions * kPickRow) + quad * kPickRow +
                          ((2 * i + row / 4) ^ quad) * 16 + row % 4 * 4;
      const uint32_t b[2] = {load_shared(at), load_shared((at ^ 64) + 4 * kPickRow)};
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        mma_sync<float>(sum[m][part * (kPointPart / 8) + i], a[m], b);
      }
    }
  }
}

// All warps' sums, as one instruction of theirs would leave them.
template <int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void store_rows(const PickParams& p, float4* shared,
                                           const float (&sum)[kRowTiles][kColumnTiles][4]) {
  constexpr int kWarps = kPickThreads / 32, kTiles = kRowTiles * kColumnTiles;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  __syncthreads();  // nobody reads the stages
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
    const float(&own)[4] = sum[i / kColumnTiles][i % kColumnTiles];
    shared[(warp * kTiles + i) * 32 + lane] = make_float4(own[0], own[1], own[2], own[3]);
  }
  __syncthreads();  // all sums are there
  const int rows = pick_rows(p.job_lines);
  float4* const to = reinterpret_cast<float4*>(p.partial) + int64_t{blockIdx.x} * pick_fours(rows);
  for (int i = warp; i < kTiles; i += kWarps) {
    float4 all = shared[i * 32 + lane];
#pragma unroll
    for (int other = 1; other < kWarps; ++other) {
      const float4 more = shared[(other * kTiles + i) * 32 + lane];
      all.x += more.x;
      all.y += more.y;
      all.z += more.z;
      all.w += more.w;
    }
    to[i % kColumnTiles * (2 * rows) + i / kColumnTiles * 32 + lane] = all;
  }
}

#endif

template <int kRowTiles, int kParts>
__global__ void __launch_bounds__(kPickThreads, kPointBlocks)
    point_rows_kernel(const __grid_constant__ PickParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kWarpPositions = kPointPositions / (kPickThreads / 32);
  extern __shared__ __align__(1024) unsigned char pick_memory[];
  __shared__ __align__(8) uint64_t barriers[kMaxPointStages];
  const uint32_t memory = shared_address(pick_memory), full = shared_address(barriers);
  const bool first_thread = threadIdx.x == 0;
  sm90::let_next_launch_start();
  const int split = static_cast<int>(blockIdx.x);
  int tile = static_cast<int>(int64_t{p.tiles} * split / p.splits);
  const int end = static_cast<int>(int64_t{p.tiles} * (split + 1) / p.splits);
  constexpr uint32_t kPartBytes = kPointPositions * kPickRow;
  const auto copy = [&](int of, int stage) {
    const uint32_t to = memory + stage * p.stage_bytes, barrier = full + 8 * stage;
    sm90::barrier_arrive_expect(barrier, kParts * kPartBytes + kPointPositions * p.job_lines * 4);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      sm90::load_box(to + part * kPartBytes, &p.input, barrier, part * kPointPart,
                     of * kPointPositions, 0, 0, 0);
    }
    sm90::load_box(to + kParts * kPartBytes, &p.output_map, barrier, 0,
                   of * kPointPositions / p.folds, 0, 0, 0);
  };
  if (first_thread) {
    for (int stage = 0; stage < p.stages; ++stage) sm90::barrier_init(full + 8 * stage, 1);
    sm90::barrier_init_fence();
    for (int i = 0; i < p.stages && tile + i < end; ++i) copy(tile + i, i);
  }
  __syncthreads();  // the barriers are there
  const int own = static_cast<int>(threadIdx.x) / 32 * kWarpPositions, pitch = p.job_lines * 4;
  float sum[kRowTiles][kPointPart / 8 * kParts][4] = {};
  sm90::Ring ring;
#pragma unroll 1
  for (; tile < end; ++tile) {
    sm90::barrier_wait(full + 8 * ring.stage, ring.parity);
    const uint32_t rows = memory + ring.stage * p.stage_bytes;
#pragma unroll
    for (int i = 0; i < kWarpPositions; i += 8) {
      multiply_rows<kRowTiles, kParts>(rows + (own + i) * kPickRow,
                                       rows + kParts * kPartBytes + (own + i) * pitch, pitch, sum);
    }
    __syncthreads();  // nobody reads the tile
    if (first_thread && tile + p.stages < end) copy(tile + p.stages, ring.stage);
    ring.next(p.stages);
  }
  store_rows(p, reinterpret_cast<float4*>(pick_memory), sum);
#endif
}

}  // namespace convt3d::cuda::line_weight
