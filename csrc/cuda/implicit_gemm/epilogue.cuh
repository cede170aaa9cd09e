// SPDX-License-Identifier: BSD-3-Clause
// One step of the product, and the way of the sums into the tensor.
#pragma once
#include <numeric>

#include "cuda/common/element.cuh"
#include "cuda/implicit_gemm/operand.cuh"
#include "cuda/implicit_gemm/tables.cuh"
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::implicit_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Issues the products of one step, as one group; `b` describes its block of weights. `a` is rounded
// in place; fp32 sums into `part`, which starts at zero, and the caller adds it to `sum`.
template <Precision kPrecision, int kColumns, int kSteps, int kTiles>
__device__ __forceinline__ void issue(float (&sum)[kTiles][kColumns / 2],
                                      float (&part)[kTiles][kColumns / 2],
                                      uint32_t (&a)[kTiles][kSteps][4], uint64_t b) {
  using Op = Operand<kPrecision>;
  using Product = sm90::Wgmma<typename Op::T, kColumns>;
  constexpr int kStep = kColumns * 32 >> 4;  // in a descriptor's units
  constexpr bool kSplit = Op::kParts == 2;
  uint32_t rest[kTiles][kSteps][4];
  if constexpr (std::is_same_v<typename Op::T, float>) {
#pragma unroll
    for (int i = 0; i < kTiles * kSteps * 4; ++i) {
      uint32_t& value = a[i / (kSteps * 4)][i / 4 % kSteps][i % 4];
      const float exact = __uint_as_float(value);
      value = round_to_tf32(value);
      if constexpr (kSplit) {
        rest[i / (kSteps * 4)][i / 4 % kSteps][i % 4] =
            round_to_tf32(__float_as_uint(exact - __uint_as_float(value)));
      }
    }
  }
  const auto multiply = [&](float(&d)[kTiles][kColumns / 2], uint32_t(&x)[kTiles][kSteps][4],
                            uint64_t y, bool fresh) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        Product::run(d[m], x[m][s], y + s * kStep, !fresh || s > 0);
      }
    }
  };
  sm90::wgmma_fence();
  if constexpr (kSplit) {
    // The small products first.
    multiply(part, rest, b, true);
    multiply(part, a, b + kSteps * kStep, false);
    multiply(part, a, b, false);
  } else {
    multiply(sum, a, b, false);
  }
  sm90::wgmma_commit();
}

#endif

// The sum of an output in plain fp32, for those that three TF32 products cannot give: an infinity's
// `rest` is NaN, or its product with a zero rest.
inline __device__ __noinline__ float exact_sum(const Params& p, ResidueSet set, int n, int qd,
                                               int qh, int qw, int channel) {
  const auto* input = static_cast<const float*>(p.input) + n * p.input_stride[0];
  const auto* weight = static_cast<const float*>(p.weight) + channel * p.weight_stride[1];
  const int q[3] = {qd, qh, qw};
  float sum = 0;
  if (p.sum_residues > 1) set = ResidueSet(p);
  for (int residue = 0; residue < p.sum_residues; ++residue, set.next(p)) {
    for (int j = 0; j < set.taps; ++j) {
      int rest = j;
      int64_t from = 0, with = 0;
      bool inside = true;
#pragma unroll
      for (int a = 2; a >= 0; --a) {
        const Residue& r = *set.axis[a];
        const int step = rest % r.num_taps;
        const int i = q[a] * p.axis[a].split + r.halo_first + r.shift + step * p.axis[a].shift_step;
        rest /= r.num_taps;
        inside = inside && i >= 0 && i < r.num_inputs;
        from += r.input_offset + i * p.input_stride[2 + a];
        with += (r.first_tap + step * p.axis[a].tap_step) * p.weight_stride[2 + a];
      }
      for (int ci = 0; inside && ci < p.in_channels; ++ci) {
        sum += input[from + ci * p.input_stride[1]] * weight[with + ci * p.weight_stride[0]];
      }
    }
  }
  return sum;
}

template <typename T>
__device__ __forceinline__ uint32_t pack(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}

// Adds the bias and stores the sums of a warp's 16 rows per m64 tile. A thread has rows lane / 4
// and 8 below it, and of the tile's channels kColumns / 4 contiguous ones (weight_pack.cuh).
template <Precision kPrecision, int kColumns, int kTiles>
__device__ __forceinline__ void store(const Params& p, const Shared& shared, const Item& item,
                                      const ResidueSet& set, int first_row,
                                      float (&sum)[kTiles][kColumns / 2]) {
  using T = typename Operand<kPrecision>::T;
  constexpr int kRows = 128 * kTiles, kChannels = kColumns / 4;
  constexpr int kVector = std::gcd(16 / sizeof(T), kChannels);  // elements of a store
  const int lane = threadIdx.x % 32;
  const int channel = item.column_tile * kColumns + lane % 4 * kChannels;
  const int there = min(kChannels, p.out_channels - channel);
  const T* bias = static_cast<const T*>(p.bias) + channel * p.bias_stride;
  int64_t first = item.origin[0] * p.output_stride[0] + channel * p.output_stride[1];
  bool full =
      item.origin[0] + p.box[0] <= p.batch && p.box[0] * p.box[1] * p.box[2] * p.box[3] == kRows;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    first += set.axis[a]->output_offset + item.origin[1 + a] * p.output_stride[2 + a];
    full = full && item.origin[1 + a] + p.box[1 + a] <= set.axis[a]->num_outputs;
  }
  if (kPrecision != Precision::fp32 && p.bias) {
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      const float add = i < there ? widen(bias[i * p.bias_stride]) : 0;
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        sum[m][i / 2 * 4 + i % 2] += add;
        sum[m][i / 2 * 4 + 2 + i % 2] += add;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) {
    const int m = i / 2, half = i % 2;
    const int row = first_row + 64 * m + lane / 4 + 8 * half;
    const int64_t offset = shared.row_offset[row];
    if (!full) {
      const Coordinates at = shared.row_coordinates[row];
      bool inside = offset >= 0 && item.origin[0] + at[0] < p.batch;
#pragma unroll
      for (int a = 0; a < 3; ++a) {
        inside = inside && item.origin[1 + a] + at[1 + a] < set.axis[a]->num_outputs;
      }
      if (!inside) continue;
    }
    T* output = static_cast<T*>(p.output) + first + offset;
    const auto value = [&](int c) {
      float result = sum[m][c / 2 * 4 + 2 * half + c % 2];
      if constexpr (kPrecision == Precision::fp32) {
        if (c < there) {
          if (!isfinite(result)) {
            const Coordinates at = shared.row_coordinates[row];
            result = exact_sum(p, set, item.origin[0] + at[0], item.origin[1] + at[1],
                               item.origin[2] + at[2], item.origin[3] + at[3], channel + c);
          }
          if (p.bias) result += bias[c * p.bias_stride];
        }
      }
      return result;
    };
    if (p.whole_stores && there == kChannels) {
#pragma unroll
      for (int c = 0; c < kChannels; c += kVector) {
        if constexpr (sizeof(T) == 4) {
          *reinterpret_cast<float4*>(output + c) =
              make_float4(value(c), value(c + 1), value(c + 2), value(c + 3));
        } else if constexpr (kVector == 8) {
          *reinterpret_cast<uint4*>(output + c) =
              make_uint4(pack<T>(value(c), value(c + 1)), pack<T>(value(c + 2), value(c + 3)),
                         pack<T>(value(c + 4), value(c + 5)), pack<T>(value(c + 6), value(c + 7)));
        } else {
          *reinterpret_cast<uint2*>(output + c) =
              make_uint2(pack<T>(value(c), value(c + 1)), pack<T>(value(c + 2), value(c + 3)));
        }
      }
    } else {
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        if (c < there) *output = narrow<T>(value(c));
        output += p.output_stride[1];
      }
    }
  }
}

}  // namespace convt3d::cuda::implicit_gemm
