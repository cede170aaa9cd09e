// SPDX-License-Identifier: BSD-3-Clause
// Forward with few out channels and at most 64 pairs of them and taps: all are columns, by
// mma.sync.
//
//   column[i][t, co] = sum over ci of input[n, ci, i] * weight[ci, co, t]
//   output[n, co, o] = bias[co] + sum over t of column[(o + p - t) / s][t, co]
//
//   M = positions of a plane of a box, with the halo;  N = taps x out channels;  K = in channels,
//   32 bytes of them a step
//
// A position is loaded, and split, once for all its taps. A block marches along d:
//
//      plane i of a box          product                     fold
//      +-+-+-+-+-+-+-+       rows     columns      outputs of cells of plane i, complete,
//      |h h h h h h h|       i=0   [t0 t1 .. t63]        with what plane i - 1 left
//      |h x x x x x x|  -->  i=1   [t0 t1 .. t63]  -->
//      |h x x x x x x|       i=2   [t0 t1 .. t63]  sums of cells of plane i + 1: carry
//      +-+-+-+-+-+-+-+
//     h: halo, only read     registers -> shared   shared -> registers -> memory, or shared
//
// All warps load (cp.async, `stages` chunks of channels deep, across planes and boxes), multiply 32
// rows by 32 columns each, and fold. Planes outside the input are not multiplied; lines are zeros.
// choose_march() guarantees: groups 1, dilation 1, a stride of 2 on h and w with at most four taps,
// or of 1 with three, at most 64 columns, chains short enough for tensor cores, 32-bit coordinates;
// strides in memory are any and 64-bit.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/kernel.cuh"
#include "cuda/column_gemm/march_fold.cuh"
#include "cuda/column_gemm/march_load.cuh"
#include "cuda/column_gemm/march_multiply.cuh"

namespace convt3d::cuda::column_gemm {

// A place in a block's work: item by item, the planes of its positions that are inside the input,
// chunk by chunk.
struct March {
  Box box;
  int item, plane, end, chunk;
};

// To the first plane inside the input of `item`, or of a later one of this block.
__device__ __forceinline__ void enter_item(const MarchParams& p, March* march) {
  for (; march->item < p.items; march->item += gridDim.x) {
    march->box = find_box(p, march->item);
    march->plane = max(0, march->box.d - (p.shifts[0] - 1));
    march->end = min(p.input_extent[0], march->box.d + p.cells[0]);
    if (march->plane < march->end) break;
  }
}

template <Precision kPrecision, bool kRowsOfChannels>
__global__ void __launch_bounds__(kThreads, 1)
    column_march_kernel(const __grid_constant__ MarchParams p) {
#ifdef __CUDA_ARCH__
  if constexpr (is_march_refused(kPrecision, __CUDA_ARCH__ / 10)) return;
#endif
  using T = ElementOf<kPrecision>;
  constexpr int kChannels = step_channels(kPrecision);
  extern __shared__ __align__(128) uint32_t memory[];
  uint32_t* const weights = memory;
  auto* const sums = reinterpret_cast<float*>(weights + p.steps * p.chunks * p.column_tiles * 64);
  float* const carry = sums + p.column_tiles * 8 * p.sum_pitch;
  const uint32_t carried = (p.shifts[0] - 1) * p.stride[1] * p.stride[2] * p.out_channels * p.jobs;
  const uint32_t stages = (shared_address(carry + carried) + 15) / 16 * 16;
  __shared__ float bias[kMaxOuts];

  March load{{}, static_cast<int>(blockIdx.x), 0, 0, 0};
  enter_item(p, &load);
  const Share share = find_share<kRowsOfChannels>(p);
  int load_stage = 0;
  const auto load_next = [&] {
    if (load.item < p.items) {
      load_plane<T, kRowsOfChannels, kChannels>(p, share, load.box, load.plane, load.chunk,
                                                stages + load_stage * p.stage_bytes);
      if (++load_stage == p.stages) load_stage = 0;
      if (++load.chunk == p.chunks) {
        load.chunk = 0;
        if (++load.plane == load.end) {
          load.item += gridDim.x;
          enter_item(p, &load);
        }
      }
    }
    copies_commit();
  };
  for (int s = 1; s < p.stages; ++s) load_next();

  load_march_weights<kPrecision>(p, weights);
  if (threadIdx.x < kMaxOuts) {
    const int co = threadIdx.x;
    bias[co] = load_or_zero(static_cast<const T*>(p.bias) + co * p.bias_stride,
                            p.bias != nullptr && co < p.out_channels);
  }
  __syncthreads();  // the weights and the bias are there

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int pair = divide(warp, p.column_divisor), own = warp - pair * p.columns;
  const bool used = pair < p.pairs;
  const Rows rows = find_plane_rows<T, kRowsOfChannels>(p, pair * kWarpRows);
  const uint32_t own_weights = shared_address(weights) + own * (kWarpColumnTiles * 256) + lane * 16;
  const uint32_t chunk_bytes = p.steps * p.column_tiles * 256;
  float* const own_sums = sums + (own * kWarpColumnTiles * 8 + lane % 4 * 2) * p.sum_pitch +
                          pair * kWarpRows + lane / 4;
  int stage = 0;
#pragma unroll 1
  for (int item = blockIdx.x; item < p.items; item += gridDim.x) {
    const Box box = find_box(p, item);
    const Job job = find_job(p, box);
#pragma unroll 1
    for (int plane = box.d - (p.shifts[0] - 1); plane < box.d + p.cells[0]; ++plane) {
      if (within(plane, p.input_extent[0])) {
        float sum[kTiles][kWarpColumnTiles][4] = {};
#pragma unroll 1
        for (int chunk = 0; chunk < p.chunks; ++chunk) {
          wait_for_chunk(p.stages);
          __syncthreads();  // the chunk is there; all are done with the one before it, and its sums
          load_next();
          if (used) {
            multiply_plane<kPrecision, kRowsOfChannels>(p, rows, stages + stage * p.stage_bytes,
                                                        own_weights + chunk * chunk_bytes, sum);
          }
          if (++stage == p.stages) stage = 0;
        }
        if (used) {
#pragma unroll
          for (int i = 0; i < kWarpColumnTiles; ++i) {
#pragma unroll
            for (int m = 0; m < kTiles; ++m) {
#pragma unroll
              for (int j = 0; j < 4; ++j) {
                own_sums[(i * 8 + j % 2) * p.sum_pitch + m * 16 + j / 2 * 8] = sum[m][i][j];
              }
            }
          }
        }
        __syncthreads();  // the sums of this plane are there
      }
      fold_columns<kPrecision>(p, box, job, plane, sums, carry, bias);
    }
  }
}

}  // namespace convt3d::cuda::column_gemm
