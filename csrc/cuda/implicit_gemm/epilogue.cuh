// SPDX-License-Identifier: BSD-3-Clause
// One step of the product, and the way of the sums into the tensor.
#pragma once
#include <numeric>

#include "cuda/common/doubtful.cuh"
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
// `rest` is NaN, or its product with a zero rest; the `rest` of a tiny number is not in TF32.
__device__ __forceinline__ float exact_sum(const Params& p, ResidueSet set, int group, int n,
                                           int qd, int qh, int qw, int channel) {
  const auto* input = static_cast<const float*>(p.input) + n * p.input_stride[0] +
                      int64_t{group} * p.in_channels * p.input_stride[1];
  const auto* weight = static_cast<const float*>(p.weight) + group * p.weight_group_stride +
                       channel * p.weight_stride[1];
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

// Row i of a thread's 2 of each tile, in the block's tile.
__device__ __forceinline__ int fragment_row(int first_row, int i) {
  return first_row + 64 * (i / 2) + threadIdx.x % 32 / 4 + 8 * (i % 2);
}

// Whether there is such an output: a tile may lie partly outside.
__device__ __forceinline__ bool is_inside(const Params& p, const Shared& shared, const Item& item,
                                          const ResidueSet& set, int row) {
  const Coordinates at = shared.row_coordinates[row];
  bool inside = shared.row_offset[row] >= 0 && item.origin[0] + at[0] < p.batch;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    inside = inside && item.origin[1 + a] + at[1 + a] < set.axis[a]->num_outputs;
  }
  return inside;
}

// Stores the exact sums of those whose bit is set: row * kChannels + channel.
template <int kChannels>
__device__ __forceinline__ void store_exact_sums(const Params& p, const Shared& shared,
                                                 const Item& item, const ResidueSet& set,
                                                 int first_row, uint64_t which) {
  const int group = item.group(p);
  const int first_channel =
      ((item.column_tile - group * p.column_tiles) * 4 + threadIdx.x % 4) * kChannels;
#pragma unroll 1
  for (; which != 0; which &= which - 1) {
    const int bit = __ffsll(static_cast<long long>(which)) - 1;
    const int row = fragment_row(first_row, bit / kChannels);
    const int channel = first_channel + bit % kChannels;
    if (channel >= p.out_channels || !is_inside(p, shared, item, set, row)) continue;
    const Coordinates at = shared.row_coordinates[row];
    float sum = exact_sum(p, set, group, item.origin[0] + at[0], item.origin[1] + at[1],
                          item.origin[2] + at[2], item.origin[3] + at[3], channel);
    const int64_t place = int64_t{group} * p.out_channels + channel;
    if (p.bias) sum += static_cast<const float*>(p.bias)[place * p.bias_stride];
    int64_t offset = item.origin[0] * p.output_stride[0] + place * p.output_stride[1];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      offset += set.axis[a]->output_offset + item.origin[1 + a] * p.output_stride[2 + a];
    }
    static_cast<float*>(p.output)[offset + shared.row_offset[row]] = sum;
  }
}

// Elements of 16 bits side by side, of rows whose channels are odd: two at a time, but for the
// first where it does not begin a word, and the last. Each store writes a part of a sector, and
// their number is what takes time.
template <int kChannels, typename T, typename Value>
__device__ __forceinline__ void store_pairs(T* output, int there, const Value& value) {
  const bool odd = (reinterpret_cast<uintptr_t>(output) & 2) != 0;
  if (odd && there > 0) *output = narrow<T>(value(0));
  if (odd) ++output;
  const int left = there - (odd ? 1 : 0);
#pragma unroll
  for (int c = 0; c < kChannels; c += 2) {
    const float low = odd ? value(c + 1) : value(c);
    const float high = !odd ? value(c + 1) : c + 2 < kChannels ? value(c + 2) : 0;
    if (c + 1 < left) {
      *reinterpret_cast<uint32_t*>(output + c) = pack_pair<T>(low, high);
    } else if (c < left) {
      output[c] = narrow<T>(low);
    }
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
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr bool kPairs = sizeof(T) == 2;
#else
  constexpr bool kPairs = false;  // limit: registers, mma_gemm's on 10.0
#endif
  const int lane = threadIdx.x % 32;
  const int group = item.group(p);
  const int channel =  // in its group
      (item.column_tile - group * p.column_tiles) * kColumns + lane % 4 * kChannels;
  const int there = min(kChannels, p.out_channels - channel);
  const int64_t place = int64_t{group} * p.out_channels + channel;
  const T* bias = static_cast<const T*>(p.bias) + place * p.bias_stride;
  int64_t first = item.origin[0] * p.output_stride[0] + place * p.output_stride[1];
  bool full =
      item.origin[0] + p.box[0] <= p.batch && p.box[0] * p.box[1] * p.box[2] * p.box[3] == kRows;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    first += set.axis[a]->output_offset + item.origin[1 + a] * p.output_stride[2 + a];
    full = full && item.origin[1 + a] + p.box[1 + a] <= set.axis[a]->num_outputs;
  }
  if (p.bias) {
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
  [[maybe_unused]] uint64_t again = 0;  // fp32: doubtful results
  if constexpr (kPrecision == Precision::fp32) {
    static_assert(2 * kTiles * kChannels <= 64);
    AnyDoubtful<> any;
#pragma unroll
    for (int i = 0; i < kTiles * kColumns / 2; ++i)
      any.see(sum[i / (kColumns / 2)][i % (kColumns / 2)]);
    if (any.found()) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int j = 0; j < kColumns / 2; ++j) {
          const int bit = (2 * m + j / 2 % 2) * kChannels + j / 4 * 2 + j % 2;
          if (is_doubtful(sum[m][j])) again |= uint64_t{1} << bit;
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) {
    const int m = i / 2, half = i % 2, row = fragment_row(first_row, i);
    const auto value = [&](int c) { return sum[m][c / 2 * 4 + 2 * half + c % 2]; };
    if (full || is_inside(p, shared, item, set, row)) {
      T* output = static_cast<T*>(p.output) + first + shared.row_offset[row];
      if (p.whole_stores && there == kChannels) {
#pragma unroll
        for (int c = 0; c < kChannels; c += kVector) {
          if constexpr (sizeof(T) == 4) {
            *reinterpret_cast<float4*>(output + c) =
                make_float4(value(c), value(c + 1), value(c + 2), value(c + 3));
          } else if constexpr (kVector == 8) {
            *reinterpret_cast<uint4*>(output + c) = make_uint4(
                pack_pair<T>(value(c), value(c + 1)), pack_pair<T>(value(c + 2), value(c + 3)),
                pack_pair<T>(value(c + 4), value(c + 5)), pack_pair<T>(value(c + 6), value(c + 7)));
          } else {
            *reinterpret_cast<uint2*>(output + c) = make_uint2(
                pack_pair<T>(value(c), value(c + 1)), pack_pair<T>(value(c + 2), value(c + 3)));
          }
        }
      } else if (kPairs && p.output_stride[1] == 1) {
        if constexpr (kPairs) store_pairs<kChannels>(output, there, value);
      } else {
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
          if (c < there) *output = narrow<T>(value(c));
          output += p.output_stride[1];
        }
      }
    }
    __syncwarp();  // keeps the addresses of one row in registers at a time
  }
  if constexpr (kPrecision == Precision::fp32) {
    store_exact_sums<kChannels>(p, shared, item, set, first_row, again);
  }
}

}  // namespace convt3d::cuda::implicit_gemm
