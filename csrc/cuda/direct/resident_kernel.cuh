// SPDX-License-Identifier: BSD-3-Clause
// Forward with long strides over few positions: the inputs of a group stay in shared memory.
//
//   output[n, co, o] = bias[co] + sum over ci, t with o + p = s * i + t of
//                      input[n, ci, i] * weight[ci, co, t]
//
// A block takes an out channel, a residue of d and `lines` residues of h side by side. Its threads
// are taps on w of these residues, so that a warp reads weights side by side; each keeps the sums
// of kResidentRows lines of input positions, four of each, over all in channels and all taps of d
// and h that its residues have. Only on w do taps meet, in shared memory:
//
//     input [ci][n, d, h][w]          products [residue of h, tap of w]           output line
//     +---------------+   lds.128     t0   t1  ...  t16  t17      i = q, t0  --\   +-----+
//     | x x x x       |  ---------> [q,i] [q,i]    [q,i] [q,i]    i = q-1, t16 ---> |o = 0|  bias
//     +---------------+  x weight                                                   +-----+
//
// Weights come to shared memory with the inputs, all at once (cp.async). A block writes lines of
// its residues, lane by lane. Rows of zeros stand for positions outside the input. supports()
// guarantees nothing; choose() does: dilation 1, 32-bit coordinates, inputs and products that fit
// kResidentBytes of shared memory, float32.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/common/resident.h"
#include "cuda/common/shared_memory.cuh"
#include "cuda/direct/forward_sum.h"
#include "cuda/direct/tuning.h"

namespace convt3d::cuda::direct {

struct ResidentSum : ForwardSum {
  int lines, chunks;  // residues of h of a block; blocks that share them
  int cells[2];       // positions on d and h that a residue has outputs at, at most
  int rows;           // of products: batch x cells
  int source_rows;    // of input: batch x extents of d and h
  int width;          // a line of input, up to a multiple of four
  int pitch;          // floats of a tap's products: rows x width, and padding for the banks
  int taps_h;         // of a residue, at most
  int plane;          // floats of an in channel: source_rows and one of zeros, x width
};

// The first position of a residue whose output is not before the first.
__device__ __forceinline__ int first_cell(const ResidentSum& p, int axis, int residue) {
  return p.padding[axis] > residue ? (p.padding[axis] - residue + p.scale[axis] - 1) / p.scale[axis]
                                   : 0;
}

// The group's inputs as float, [ci][row][width], and a row of zeros behind each channel's rows.
template <typename T>
__device__ __forceinline__ void load_inputs(const ResidentSum& p, int group, float* inputs) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int at = lane; at < p.plane; at += 32) {
    const int row = at / p.width, w = at - row * p.width;
    const bool there = row < p.source_rows && w < p.source_extent[2];
    const int line = row / p.source_extent[1], h = row - line * p.source_extent[1];
    const int n = line / p.source_extent[0], d = line - n * p.source_extent[0];
    const auto* const none = static_cast<const T*>(p.source);
    const T* source = none;
    if (there) {
      source += n * p.source_stride[0] + (int64_t{group} * p.ins + warp) * p.source_stride[1] +
                d * p.source_stride[2] + h * p.source_stride[3] + w * p.source_stride[4];
    }
#pragma unroll 4
    for (int in = warp; in < p.ins; in += warps) {
      copy_async<4>(shared_address(inputs + in * p.plane + at), there ? source : none,
                    there ? 4 : 0);
      source += warps * p.source_stride[1];
    }
  }
}

// The weights of the block's taps: [tap back on d and h][ci][residue of h, tap of w].
template <typename T>
__device__ __forceinline__ void load_factors(const ResidentSum& p, int residue_d,
                                             int first_residue_h, const T* weight, float* factors) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const int taps = p.lines * p.kernel[2];
  for (int tap = lane; tap < taps; tap += 32) {
    const int line = tap / p.kernel[2], tap_w = tap - line * p.kernel[2];
    const int residue_h = first_residue_h + line;
    float* target = factors + tap;
    for (int td = residue_d; td < p.kernel[0]; td += p.scale[0]) {
      for (int back_h = 0; back_h < p.taps_h; ++back_h, target += p.ins * taps) {
        const int th = residue_h + back_h * p.scale[1];
        if (residue_h >= p.scale[1] || th >= p.kernel[1]) continue;
        const T* source = weight + td * p.weight_stride[2] + th * p.weight_stride[3] +
                          tap_w * p.weight_stride[4] + warp * p.weight_stride[0];
#pragma unroll 4
        for (int in = warp; in < p.ins; in += warps) {
          copy_async<4>(shared_address(target + in * taps), source, 4);
          source += warps * p.weight_stride[0];
        }
      }
    }
  }
}

// Where the rows of a thread's products begin in a channel's inputs, a tap back on d and h.
__device__ __forceinline__ void find_rows(const ResidentSum& p, int first_row, int quad,
                                          int first_d, int first_h, int back_d, int back_h,
                                          const float* inputs,
                                          const float4* (&row)[kResidentRows]) {
#pragma unroll
  for (int r = 0; r < kResidentRows; ++r) {
    const int line = (first_row + r) / p.cells[1], n = line / p.cells[0];
    const int h = first_h + first_row + r - line * p.cells[1] - back_h;
    const int d = first_d + line - n * p.cells[0] - back_d;
    const bool there = n < p.batch &&
                       static_cast<unsigned>(d) < static_cast<unsigned>(p.source_extent[0]) &&
                       static_cast<unsigned>(h) < static_cast<unsigned>(p.source_extent[1]);
    const int from = there ? (n * p.source_extent[0] + d) * p.source_extent[1] + h : p.source_rows;
    row[r] = reinterpret_cast<const float4*>(inputs + from * p.width) + quad;
  }
}

// The products of one tap of w, `unit` of the block's: kResidentRows rows, four positions of each.
__device__ __forceinline__ void multiply_tap(const ResidentSum& p, int unit, int residue_d,
                                             int first_residue_h, const float* factors,
                                             const float* inputs, float* products) {
  const int taps = p.lines * p.kernel[2], quads = p.width / 4;
  const int group = unit / taps, tap = unit - group * taps;
  const int first_row = group / quads * kResidentRows, quad = group % quads;
  const int residue_h = first_residue_h + tap / p.kernel[2];
  const int first_d = first_cell(p, 0, residue_d), first_h = first_cell(p, 1, residue_h);
  float sum[kResidentRows][4] = {};
  const bool own = residue_h < p.scale[1];
#pragma unroll 1
  for (int td = residue_d, back_d = 0; td < p.kernel[0]; td += p.scale[0], ++back_d) {
#pragma unroll 1
    for (int th = residue_h, back_h = 0; own && th < p.kernel[1]; th += p.scale[1], ++back_h) {
      const float4* row[kResidentRows];
      find_rows(p, first_row, quad, first_d, first_h, back_d, back_h, inputs, row);
      const float* factor = factors + (back_d * p.taps_h + back_h) * p.ins * taps + tap;
#pragma unroll 4
      for (int in = 0; in < p.ins; ++in) {
        const float by = *factor;
        factor += taps;
#pragma unroll
        for (int r = 0; r < kResidentRows; ++r) {
          const float4 value = *row[r];
          row[r] += p.plane / 4;
          sum[r][0] = fmaf(value.x, by, sum[r][0]);
          sum[r][1] = fmaf(value.y, by, sum[r][1]);
          sum[r][2] = fmaf(value.z, by, sum[r][2]);
          sum[r][3] = fmaf(value.w, by, sum[r][3]);
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kResidentRows; ++r) {
    if (first_row + r >= p.rows) break;
    *reinterpret_cast<float4*>(products + tap * p.pitch + (first_row + r) * p.width + quad * 4) =
        make_float4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
  }
}

// The block's outputs: a warp takes a line, its lanes neighbouring outputs.
template <typename T>
__device__ __forceinline__ void write_lines(const ResidentSum& p, int residue_d,
                                            int first_residue_h, float bias, T* result,
                                            const float* products) {
  const int lane = threadIdx.x % 32, first_d = first_cell(p, 0, residue_d);
#pragma unroll 1
  for (int start = 0; start < p.result_extent[2]; start += 32) {
    const int output = start + lane, at = output + p.padding[2];
    const int position = at / p.scale[2], first_tap = at - position * p.scale[2];
#pragma unroll 1
    for (int job = threadIdx.x / 32; job < p.lines * p.rows; job += blockDim.x / 32) {
      const int line = job / p.rows, row = job - line * p.rows, residue_h = first_residue_h + line;
      const int outer = row / p.cells[1], n = outer / p.cells[0];
      const int h = (first_cell(p, 1, residue_h) + row - outer * p.cells[1]) * p.scale[1] +
                    residue_h - p.padding[1];
      const int d = (first_d + outer - n * p.cells[0]) * p.scale[0] + residue_d - p.padding[0];
      if (residue_h >= p.scale[1] || d >= p.result_extent[0] || h >= p.result_extent[1] ||
          output >= p.result_extent[2]) {
        continue;
      }
      const float* product = products + line * p.kernel[2] * p.pitch + row * p.width;
      float sum = 0;
      for (int tap = first_tap, w = position; tap < p.kernel[2] && w >= 0; tap += p.scale[2], --w) {
        if (w < p.source_extent[2]) sum += product[tap * p.pitch + w];
      }
      result[n * p.result_stride[0] + d * p.result_stride[2] + h * p.result_stride[3] +
             output * p.result_stride[4]] = narrow<T>(sum + bias);
    }
  }
}

template <typename T>
__global__ __launch_bounds__(kResidentThreads, kResidentBlocksPerSm) void resident_kernel(
    const __grid_constant__ ResidentSum p) {
  extern __shared__ __align__(16) float shared[];
  float* const inputs = shared;
  float* const products = inputs + p.ins * p.plane;
  float* const factors = products + p.lines * p.kernel[2] * p.pitch;
  // Residues of d with the most taps are first.
  int block = blockIdx.x;
  const int first_residue_h = block % p.chunks * p.lines;
  block /= p.chunks;
  const int residue_d = block / p.channels, channel = block - residue_d * p.channels;
  const int group = channel / p.outs;
  const T* const weight = static_cast<const T*>(p.weight) +
                          int64_t{group} * p.ins * p.weight_stride[0] +
                          (channel - group * p.outs) * p.weight_stride[1];
  load_inputs<T>(p, group, inputs);
  load_factors<T>(p, residue_d, first_residue_h, weight, factors);
  copies_commit();
  copies_wait<0>();
  __syncthreads();  // the inputs and the weights are there
  const int units =
      p.lines * p.kernel[2] * (p.width / 4) * ((p.rows + kResidentRows - 1) / kResidentRows);
#pragma unroll 1
  for (int unit = threadIdx.x; unit < units; unit += blockDim.x) {
    multiply_tap(p, unit, residue_d, first_residue_h, factors, inputs, products);
  }
  __syncthreads();  // the products are there
  const float bias =
      load_or_zero(static_cast<const T*>(p.bias) + channel * p.bias_stride, p.bias != nullptr);
  write_lines<T>(p, residue_d, first_residue_h, bias,
                 static_cast<T*>(p.result) + channel * p.result_stride[1], products);
}

}  // namespace convt3d::cuda::direct
