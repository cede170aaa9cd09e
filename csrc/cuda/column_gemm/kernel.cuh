// SPDX-License-Identifier: BSD-3-Clause
// Forward with few out channels as one product with many columns, by mma.sync:
//
//   column[i_w; q_d, q_h][r_d, r_h, t_w, co] = sum over ci, j of
//       input[n, ci, q_d - j_d, q_h - j_h, i_w] * weight[ci, co, s*j_d + r_d, s*j_h + r_h, t_w]
//   output[n, co, s*q_d + r_d - p, s*q_h + r_h - p, o] = bias[co] + sum over t_w of
//       column[(o + p - t_w) / s][r_d, r_h, t_w, co]
//
//   M = positions on w of lines of cells;  N = residues of d and h x taps on w x out channels;
//   K = shifts on d and h x in channels, 32 bytes of them a step
//
// A shift on d or h moves a whole line, so that an operand in shared memory is read in place in
// either layout, and all residues read it at once; only on w do neighbours exchange what they have
// summed. A block walks over boxes, and over chunks of their channels:
//
//        box of lines             product                     fold
//      +-+-+-+-+-+-+-+         rows   columns             columns   output line
//      |h h h h h h h|        q,i=0 [r0 t0 t1 t2 t3]        t0 -\  +---+
//      |h x x x x x x|  --->  q,i=1 [r0 t0 t1 t2 t3] --->   t2 ---> |o=0|   bias, one rounding
//      |h x x x x x x|        q,i=2 [r0 t0 t1 t2 t3]        t1 ---> |o=1|
//      +-+-+-+-+-+-+-+                                      t3 -/  +---+
//     h: halo, only read      registers -> shared           shared -> registers -> memory
//
// All warps load (cp.async, `stages` chunks deep), multiply 32 rows each, and fold whole lines.
// supports() guarantees: groups 1, dilation 1, stride 1 or 2 on w, at most 32 columns, chains short
// enough for tensor cores, 32-bit coordinates; strides in memory are any and 64-bit.
#pragma once
#include <cstdint>

#include "cuda/column_gemm/box.cuh"
#include "cuda/column_gemm/fold.cuh"
#include "cuda/column_gemm/multiply.cuh"

namespace convt3d::cuda::column_gemm {

// Waits for the oldest of `stages` - 1 chunks in flight.
__device__ __forceinline__ void wait_for_chunk(int stages) {
  if (stages == 2) {
    copies_wait<0>();
  } else if (stages == 3) {
    copies_wait<1>();
  } else {
    copies_wait<2>();
  }
}

template <Precision kPrecision, bool kRowsOfChannels, int kColumnTiles>
__global__ void __launch_bounds__(kThreads, 1)
    column_gemm_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH__
  if constexpr (is_refused(kPrecision, __CUDA_ARCH__ / 10)) return;
#endif
  using T = ElementOf<kPrecision>;
  constexpr int kChannels = step_channels(kPrecision);
  extern __shared__ __align__(128) uint32_t memory[];
  uint32_t* const weights = memory;
  const int operands = p.shifts[0] * p.shifts[1] * p.column_tiles;  // of a step, 256 bytes each
  auto* const sums = reinterpret_cast<float*>(weights + operands * p.steps * p.chunks * 64);
  auto* const bias = sums + p.column_tiles * 8 * kSumPitch;
  auto* const table = reinterpret_cast<uint32_t*>(bias + kMaxOuts);
  uint32_t* const box_lines = table + kRows * p.parts;
  auto* const lines = reinterpret_cast<Line*>(box_lines + p.box_lines[0] * p.box_lines[1]);
  __shared__ Shift shifts[kMaxShifts];
  const int num_lines = p.cells[0] * p.cells[1] * p.stride[0] * p.stride[1];
  const uint32_t stages = (shared_address(lines + num_lines) + 15) / 16 * 16;

  for (int i = threadIdx.x; i < p.box_lines[0] * p.box_lines[1]; i += kThreads) {
    box_lines[i] = i / p.box_lines[1] << 16 | i % p.box_lines[1];
  }
  if (threadIdx.x < p.shifts[0] * p.shifts[1]) {
    const int shift = threadIdx.x, shift_d = shift / p.shifts[1];
    const int back = shift_d * p.box_lines[1] + shift - shift_d * p.shifts[1];
    shifts[shift] = {back * p.line_rows * (kRowsOfChannels ? p.pitch : uint32_t{sizeof(T)}),
                     p.tile_mask[shift]};
  }
  __syncthreads();  // the places of the lines are there
  const int blocks = gridDim.x, first_item = blockIdx.x;
  // This block's items one after another, each chunk by chunk.
  int load_item = first_item, load_chunk_index = 0, load_stage = 0;
  Box load_box = find_box(p, load_item);
  const Pieces pieces = find_pieces<T, kRowsOfChannels>(p);
  const auto load_next = [&] {
    if (load_item < p.items) {
      load_chunk<T, kRowsOfChannels, kChannels>(p, load_box, load_chunk_index, box_lines, pieces,
                                                stages + load_stage * p.stage_bytes);
      if (++load_chunk_index == p.chunks) {
        load_chunk_index = 0;
        load_item += blocks;
        load_box = find_box(p, load_item);
      }
      if (++load_stage == p.stages) load_stage = 0;
    }
    copies_commit();
  };
  for (int s = 1; s < p.stages; ++s) load_next();

  load_weights<kPrecision>(p, weights);
  for (int i = threadIdx.x; i < num_lines; i += kThreads) lines[i] = find_line(p, i);
  if (threadIdx.x < kMaxOuts) {
    const int co = threadIdx.x;
    bias[co] = load_or_zero(static_cast<const T*>(p.bias) + co * p.bias_stride,
                            p.bias != nullptr && co < p.out_channels);
  }
  for (int i = threadIdx.x; i < kRows * p.parts; i += kThreads) {
    const int part = i / kRows, row = i - part * kRows;
    int line = row / p.line_rows;
    const int position = row - line * p.line_rows;
    line += part * p.part_lines;
    // Rows that are no line's read the first one.
    const bool there = line < (part + 1) * p.part_lines && line < p.cells[0] * p.cells[1];
    const int d = there ? line / p.cells[1] : 0, h = there ? line - d * p.cells[1] : 0;
    table[i] = ((d + p.shifts[0] - 1) * p.box_lines[1] + h + p.shifts[1] - 1) * p.line_rows +
               (there ? position : row % 8);
  }

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int stage = 0;
#pragma unroll 1
  for (int item = first_item; item < p.items; item += blocks) {
    const Box box = find_box(p, item);
#pragma unroll 1
    for (int part = 0; part < p.parts; ++part) {
      float sum[kTiles][kColumnTiles][4] = {};
      const int there = min(p.part_lines, p.cells[0] * p.cells[1] - part * p.part_lines);
      const bool used = warp * kWarpRows < there * p.line_rows;
#pragma unroll 1
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        if (part == 0) {
          wait_for_chunk(p.stages);
          __syncthreads();  // the chunk is there; all are done with the one before it, and its sums
          load_next();
        } else {
          __syncthreads();  // all are done with the sums of the part before
        }
        if (used) {
          Rows rows[kTiles];
#pragma unroll
          for (int m = 0; m < kTiles; ++m) {
            rows[m] =
                find_rows<T, kRowsOfChannels>(p, table + part * kRows, warp * kWarpRows + m * 16);
          }
          multiply<kPrecision, kRowsOfChannels, kColumnTiles>(
              p, shifts, rows, stages + stage * p.stage_bytes,
              shared_address(weights) + (chunk * p.steps * operands * 64 + lane * 2) * 4, sum);
        }
        if (part == p.parts - 1 && ++stage == p.stages) stage = 0;
      }
      if (used) {
        float* const own = sums + lane % 4 * 2 * kSumPitch + warp * kWarpRows + lane / 4;
#pragma unroll
        for (int i = 0; i < kColumnTiles; ++i) {
          if (i >= p.column_tiles) break;
#pragma unroll
          for (int m = 0; m < kTiles; ++m) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
              own[(i * 8 + j % 2) * kSumPitch + m * 16 + j / 2 * 8] = sum[m][i][j];
            }
          }
        }
      }
      __syncthreads();  // the sums of this part are there
      fold<kPrecision>(p, box, part, lines, sums, bias);
    }
  }
}

}  // namespace convt3d::cuda::column_gemm
