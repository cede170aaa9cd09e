// SPDX-License-Identifier: BSD-3-Clause
// Pointwise layers (kernel 1, stride 1) of few channels, on the CUDA cores: memory bound, and in
// float32 products as they are.
//
//   output[n, co, i] = bias[co] + sum over ci of input[n, ci, i] * weight[ci, co]
//   grad_input[n, ci, i] = sum over co of grad_output[n, co, i] * weight[ci, co]
//
// Source and result have positions and channels: `depth` of the source are summed for `columns` of
// the result. A block walks over tiles, with the weights [depth][columns] in shared memory.
//
//   point_lines_kernel, NCDHW      a thread: two neighbouring positions, all columns; a weight that
//                                  is loaded serves both, a load or store of a warp is one piece
//
//   point_rows_kernel, NDHWC       rows of the source by cp.async, as they lie, a tile ahead
//     columns  0-3 4-7 ... 28-31
//     rows 0   t0  t1  ...  t7     a thread: four columns of eight rows, 16 apart; eight threads
//     rows 1   t8  t9  ...  t15    store a row
//
// points_fit() guarantees: 32-bit elements, at most kPointDepth and kPointColumns, dense tensors in
// one layout, fewer than 2**30 positions; in NDHWC an even depth and a multiple of four columns.
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/shuffle_gemm/params.h"
#include "cuda/shuffle_gemm/point_config.h"

namespace convt3d::cuda::shuffle_gemm {

struct PointParams {
  const void* source;
  const void* weight;
  const void* bias;  // may be null
  void* result;
  int64_t bias_stride, weight_depth, weight_column;  // elements from one to the next
  int depth, columns;
  int volume;           // positions of an image
  int positions;        // of all
  int tiles;            // of all
  Divider image_tiles;  // NCDHW: of an image
  bool aligned;         // pairs of positions, or 16 bytes of rows
};

// Rounded as TF32 wants it.
template <Precision kPrecision>
__device__ __forceinline__ float point_operand(float value) {
  return kPrecision == Precision::tf32 ? round_to_tf32(value) : value;
}

// [depth, to a multiple of kPointStep][kColumns], zeros where there is none, and the bias behind.
template <Precision kPrecision, int kColumns>
__device__ __forceinline__ void load_point_weights(const PointParams& p, float* weights) {
  const int rows = (p.depth + kPointStep - 1) / kPointStep * kPointStep;
  for (int i = static_cast<int>(threadIdx.x); i < (rows + 1) * kColumns; i += kPointThreads) {
    const int k = i / kColumns, n = i % kColumns;
    float value = 0;
    if (k == rows) {
      if (p.bias != nullptr && n < p.columns) {
        value = static_cast<const float*>(p.bias)[n * p.bias_stride];
      }
    } else if (k < p.depth && n < p.columns) {
      value = point_operand<kPrecision>(
          static_cast<const float*>(p.weight)[k * p.weight_depth + n * p.weight_column]);
    }
    weights[i] = value;
  }
}

template <Precision kPrecision, int kColumns>
__global__ void __launch_bounds__(kPointThreads)
    point_lines_kernel(const __grid_constant__ PointParams p) {
  extern __shared__ __align__(16) float point_weights[];
  load_point_weights<kPrecision, kColumns>(p, point_weights);
  __syncthreads();  // weights and bias are there
  const float* const bias =
      point_weights + (p.depth + kPointStep - 1) / kPointStep * kPointStep * kColumns;
#pragma unroll 1
  for (int tile = static_cast<int>(blockIdx.x); tile < p.tiles;
       tile += static_cast<int>(gridDim.x)) {
    const int64_t image = p.image_tiles.divide(tile);
    const int first =
        (tile - static_cast<int>(image) * static_cast<int>(p.image_tiles.divisor)) * kPointLine;
    const int position = first + 2 * static_cast<int>(threadIdx.x);
    if (position >= p.volume) continue;
    const bool both = position + 1 < p.volume;
    const float* from = static_cast<const float*>(p.source) + image * p.depth * p.volume + position;
    float sum[kColumns][2] = {};
#pragma unroll 1
    for (int k = 0; k < p.depth; k += kPointStep) {
      float2 value[kPointStep];
#pragma unroll
      for (int i = 0; i < kPointStep; ++i) {
        const float* const at = from + int64_t{i} * p.volume;
        value[i] = make_float2(0, 0);
        if (k + i < p.depth) {
          if (p.aligned) {
            value[i] = __ldg(reinterpret_cast<const float2*>(at));
          } else {
            value[i] = make_float2(at[0], both ? at[1] : 0.0f);
          }
        }
      }
      from += int64_t{kPointStep} * p.volume;
#pragma unroll
      for (int i = 0; i < kPointStep; ++i) {
        const float x = point_operand<kPrecision>(value[i].x);
        const float y = point_operand<kPrecision>(value[i].y);
#pragma unroll
        for (int n = 0; n < kColumns; n += 4) {
          const float4 weight =
              *reinterpret_cast<const float4*>(point_weights + (k + i) * kColumns + n);
          const float four[4] = {weight.x, weight.y, weight.z, weight.w};
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            sum[n + j][0] = fmaf(x, four[j], sum[n + j][0]);
            sum[n + j][1] = fmaf(y, four[j], sum[n + j][1]);
          }
        }
      }
    }
    float* const to = static_cast<float*>(p.result) + image * p.columns * p.volume + position;
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
      if (n >= p.columns) continue;
      const float x = sum[n][0] + bias[n], y = sum[n][1] + bias[n];
      float* const at = to + int64_t{n} * p.volume;
      if (p.aligned) {
        *reinterpret_cast<float2*>(at) = make_float2(x, y);
      } else {
        at[0] = x;
        if (both) at[1] = y;
      }
    }
  }
}

// Rows of a tile of the source, as they lie.
__device__ __forceinline__ void copy_point_rows(const PointParams& p, int tile, float* rows) {
  const int first = tile * kPointRows, count = min(kPointRows, p.positions - first);
  const float* const from = static_cast<const float*>(p.source) + int64_t{first} * p.depth;
  const int elements = count * p.depth;
  if (p.aligned && count == kPointRows) {  // 128 rows are a multiple of 16 bytes
    constexpr int kPiece = 4;
    for (int i = static_cast<int>(threadIdx.x) * kPiece; i < elements;
         i += kPointThreads * kPiece) {
      copy_async<16>(shared_address(rows + i), from + i, 16);
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < elements; i += kPointThreads) {
      rows[i] = from[i];
    }
  }
}

template <Precision kPrecision>
__global__ void __launch_bounds__(kPointThreads)
    point_rows_kernel(const __grid_constant__ PointParams p) {
  constexpr int kColumns = kPointColumns, kGroups = kPointThreads / 8;
  constexpr int kEach = kPointRows / kGroups;  // rows of a thread
  extern __shared__ __align__(16) float point_weights[];
  const int depth_rows = (p.depth + kPointStep - 1) / kPointStep * kPointStep;
  float* const rows = point_weights + (depth_rows + 1) * kColumns;
  const int buffer = kPointRows * p.depth;
  const int column = static_cast<int>(threadIdx.x) % 8 * kPointQuad;
  const int group = static_cast<int>(threadIdx.x) / 8;
  int tile = static_cast<int>(blockIdx.x);
  if (tile < p.tiles) copy_point_rows(p, tile, rows);
  copies_commit();
  load_point_weights<kPrecision, kColumns>(p, point_weights);
  int place = 0;
#pragma unroll 1
  for (; tile < p.tiles; tile += static_cast<int>(gridDim.x), place ^= 1) {
    copies_wait<0>();
    __syncthreads();  // this tile, and weights, are there; all have left the tile before it
    const int next = tile + static_cast<int>(gridDim.x);
    if (next < p.tiles) copy_point_rows(p, next, rows + (place ^ 1) * buffer);
    copies_commit();
    const float* const own = rows + place * buffer + group * p.depth;
    float sum[kEach][kPointQuad] = {};
#pragma unroll 2
    for (int k = 0; k < p.depth; k += 2) {
      float weight[2][kPointQuad];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float4 four =
            *reinterpret_cast<const float4*>(point_weights + (k + i) * kColumns + column);
        weight[i][0] = four.x, weight[i][1] = four.y, weight[i][2] = four.z, weight[i][3] = four.w;
      }
#pragma unroll
      for (int row = 0; row < kEach; ++row) {
        const float* const at = own + row * kGroups * p.depth + k;
        const float2 two = *reinterpret_cast<const float2*>(at);
        const float x = point_operand<kPrecision>(two.x), y = point_operand<kPrecision>(two.y);
#pragma unroll
        for (int j = 0; j < kPointQuad; ++j) {
          sum[row][j] = fmaf(y, weight[1][j], fmaf(x, weight[0][j], sum[row][j]));
        }
      }
    }
    if (column >= p.columns) continue;
    const float4 bias =
        *reinterpret_cast<const float4*>(point_weights + depth_rows * kColumns + column);
#pragma unroll
    for (int row = 0; row < kEach; ++row) {
      const int position = tile * kPointRows + row * kGroups + group;
      if (position >= p.positions) continue;
      float* const to = static_cast<float*>(p.result) + int64_t{position} * p.columns + column;
      const float first = sum[row][0] + bias.x, second = sum[row][1] + bias.y;
      const float third = sum[row][2] + bias.z, fourth = sum[row][3] + bias.w;
      *reinterpret_cast<float4*>(to) = make_float4(first, second, third, fourth);
    }
  }
}

}  // namespace convt3d::cuda::shuffle_gemm
