// SPDX-License-Identifier: BSD-3-Clause
// Forward in patch_kernel: the weight has been turned to [column][in_channel], columns being pairs
// of out_channel and tap, and sums of 32 bits go from the registers to where those pairs lie. A
// thread has two neighbouring columns of two positions:
//
//   pairs       8 bytes of each position; a quad of lanes has whole sectors where kw * (in NDHWC
//               out_channels) is a multiple of 8
//   positions   NCDHW, kw of 2: both positions' taps are neighbours, 16 bytes
//   fours       NCDHW, kw of 4: even lanes get four taps of the first position, odd ones of the
//               second
//
// patches_fit() guarantees that neighbouring columns, the first one even, are neighbours in the
// output.
#pragma once
#include <cstdint>

#include "cuda/shuffle_gemm/patch_params.h"
#include "cuda/shuffle_gemm/patch_store.cuh"

namespace convt3d::cuda::shuffle_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Of the slice's columns: elements from a position's first output, and the bias. All threads that
// multiply call it, ahead of a barrier.
template <int kColumns>
__device__ __forceinline__ void describe_places(const PatchParams& p, const PatchStages& shared,
                                                int slice) {
  const int own = static_cast<int>(threadIdx.x), column = slice * kColumns + own;
  if (own >= kColumns) return;
  const int taps = p.kernel[0] * p.kernel[1] * p.kernel[2];
  const int other = p.taps_inner ? column / taps : column / p.out_channels;
  const int channel = p.taps_inner ? other : column - other * p.out_channels;
  const int tap = p.taps_inner ? column - other * taps : other;
  const int line = tap / p.kernel[2], d = line / p.kernel[1];
  const int64_t place = channel * p.column_stride[0] + d * p.column_stride[1] +
                        (line - d * p.kernel[1]) * p.column_stride[2] +
                        (tap - line * p.kernel[2]) * p.column_stride[3];
  const bool there = column < p.columns;
  const float bias = p.bias != nullptr && there
                         ? static_cast<const float*>(p.bias)[channel * p.bias_stride]
                         : 0.0f;
  asm volatile("st.shared.b64 [%0], %1;" ::"r"(shared.places + 8 * own), "l"(there ? place : -1)
               : "memory");
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(shared.bias + 4 * own), "f"(bias) : "memory");
}

// Negative where there is no such column.
__device__ __forceinline__ int64_t load_place(const PatchStages& shared, int column) {
  int64_t place;
  asm volatile("ld.shared.b64 %0, [%1];"
               : "=l"(place)
               : "r"(shared.places + 8 * column)
               : "memory");
  return place;
}

// Of that column and the next.
__device__ __forceinline__ float2 load_bias(const PatchStages& shared, int column) {
  float2 bias;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
               : "=f"(bias.x), "=f"(bias.y)
               : "r"(shared.bias + 4 * column)
               : "memory");
  return bias;
}

// Sums of sixteen columns from `column` of the slice on. By whole warps.
__device__ __forceinline__ void scatter_columns(const PatchParams& p, const PatchStages& shared,
                                                const float (&sum)[8], int column,
                                                float* const (&row)[2]) {
  const int quad = static_cast<int>(threadIdx.x) % 4;
  const bool odd = quad % 2 != 0;
#pragma unroll
  for (int eight = 0; eight < 2; ++eight) {
    const int own = column + 8 * eight + 2 * quad;
    const int64_t place = load_place(shared, own);
    const float2 bias = load_bias(shared, own);
    const float2 first = make_float2(sum[4 * eight] + bias.x, sum[4 * eight + 1] + bias.y);
    const float2 second = make_float2(sum[4 * eight + 2] + bias.x, sum[4 * eight + 3] + bias.y);
    if (p.store == PatchStore::fours) {
      const float x = __shfl_xor_sync(~0u, odd ? first.x : second.x, 1);
      const float y = __shfl_xor_sync(~0u, odd ? first.y : second.y, 1);
      float* const to = odd ? row[1] : row[0];
      if (to == nullptr || place < 0) continue;
      *reinterpret_cast<float4*>(to + place - (odd ? 2 : 0)) =
          odd ? make_float4(x, y, second.x, second.y) : make_float4(first.x, first.y, x, y);
    } else if (place < 0) {
      continue;
    } else if (p.store == PatchStore::positions) {
      if (row[0] == nullptr) continue;
      *reinterpret_cast<float4*>(row[0] + place) =
          make_float4(first.x, first.y, second.x, second.y);
    } else {
      if (row[0] != nullptr) *reinterpret_cast<float2*>(row[0] + place) = first;
      if (row[1] != nullptr) *reinterpret_cast<float2*>(row[1] + place) = second;
    }
  }
}

#endif

}  // namespace convt3d::cuda::shuffle_gemm
