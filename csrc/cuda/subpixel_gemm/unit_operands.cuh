// SPDX-License-Identifier: BSD-3-Clause
// The operands of units in the workspace. Weights are in the order in which lanes read them, split
// for float32. The input is between zeros, so that nothing asks where it ends; in 16 bits a word
// has two neighbours in w, and depth runs from the last tap of w to the first.
#pragma once
#include "cuda/subpixel_gemm/tile.cuh"

namespace convt3d::cuda::subpixel_gemm {

// Taps of w in the depth of a unit: in 16 bits an even number.
__host__ __device__ constexpr int unit_taps_w(int taps_w, int element) {
  return element == 2 ? (taps_w + 1) / 2 * 2 : taps_w;
}

// Depth's element: in channel and taps u. `depth` is below that of the taps.
struct DepthDigits {
  int in, u[3];

  __device__ DepthDigits(const ResidueClass& c, int taps_w, int depth) {
    u[2] = taps_w - 1 - depth % taps_w;
    depth /= taps_w;
    u[1] = depth % c.taps[1];
    depth /= c.taps[1];
    u[0] = depth % c.taps[0];
    in = depth / c.taps[0];
  }
};

// A run of a class: its out channel (of line_outs), residue of d and first of h.
struct RunDigits {
  int out, residue[2];

  __device__ RunDigits(const ResidueClass& c, int run) {
    const int of_h = runs_h(c);
    residue[1] = c.residue[1] + run % of_h * c.lines;
    run /= of_h;
    residue[0] = c.residue[0] + run % c.residues[0];
    out = run / c.residues[0];
  }
};

// A column of a unit: its out channel (of tile_outs), line and residue of w.
struct ColumnDigits {
  int out, line, residue;

  __device__ ColumnDigits(const Params& p, const ResidueClass& c, int column) {
    residue = column % p.stride[2];
    column /= p.stride[2];
    line = column % c.lines;
    out = column / c.lines;
  }
  __device__ bool there(const Params& p) const { return out < p.config.tile_outs; }
};

// A weight of a group's run, or 0.
template <typename T>
__device__ __forceinline__ uint32_t weight_bits(const Params& p, const ResidueClass& c, int group,
                                                int run, int column, int depth) {
  const int taps_w = unit_taps_w(p.config.taps_w, sizeof(T));
  if (depth >= p.ins * c.taps[0] * c.taps[1] * taps_w) return 0;
  const RunDigits of_run(c, run);
  const ColumnDigits of_column(p, c, column);
  const DepthDigits of_depth(c, taps_w, depth);
  const int residue[3] = {of_run.residue[0], of_run.residue[1] + of_column.line, of_column.residue};
  bool there = of_column.there(p) && residue[1] < c.residue[1] + c.residues[1];
  const T* weight = static_cast<const T*>(p.weight) +
                    (int64_t{group} * p.ins + of_depth.in) * p.weight_stride[0] +
                    (of_run.out + of_column.out) * p.weight_stride[1];
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    const int tap = of_depth.u[axis] * p.stride[axis] + residue[axis];
    there &= tap < p.kernel[axis];
    weight += tap * p.weight_stride[2 + axis];
  }
  return load_bits(weight, there);
}

// The operands' words in the workspace, a thread each.
template <Precision kPrecision>
__global__ void __launch_bounds__(kThreads) pack_units(const __grid_constant__ Params p) {
  using T = ElementOf<kPrecision>;
  constexpr int kElement = sizeof(T), kWords = kElement == 4 ? 4 : 2;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const Config& config = p.config;
  if (index >= config.parts) return;
  uint32_t* const to = reinterpret_cast<uint32_t*>(p.parts) + index;
  if (index >= config.copy) {
    int64_t rest = index - config.copy;
    int at[3];
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      at[axis] = static_cast<int>(rest % config.copy_extent[axis]) + config.copy_first[axis];
      rest /= config.copy_extent[axis];
    }
    const int channels = p.groups * p.ins;
    const bool line =
        at[0] >= 0 && at[0] < p.input_extent[0] && at[1] >= 0 && at[1] < p.input_extent[1];
    const T* const from = static_cast<const T*>(p.input) + rest / channels * p.input_stride[0] +
                          rest % channels * p.input_stride[1] + at[0] * p.input_stride[2] +
                          at[1] * p.input_stride[3];
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < kPerWord<T>; ++i) {
      const int w = at[2] + i;
      word |= load_bits(from + w * p.input_stride[4], line && w >= 0 && w < p.input_extent[2])
              << 16 * i;
    }
    *to = word;
    return;
  }
  int of_class = 0;
  while (of_class + 1 < config.num_classes && index >= config.classes[of_class + 1].part) {
    ++of_class;
  }
  const ResidueClass& c = config.classes[of_class];
  int64_t rest = index - c.part;
  const int word = static_cast<int>(rest % kWords), lane = static_cast<int>(rest / kWords % 32);
  rest /= kWords * 32;
  const int tile = static_cast<int>(rest % (c.columns / 8));
  rest /= c.columns / 8;
  const int step = static_cast<int>(rest % (c.depth * kElement / 32));
  rest /= c.depth * kElement / 32;
  const int runs = p.line_outs * c.residues[0] * runs_h(c);
  const int run = static_cast<int>(rest % runs), group = static_cast<int>(rest / runs);
  const int depth = (step * 8 + word % 2 * 4 + lane % 4) * kPerWord<T>;
  const int column = tile * 8 + lane / 4;
  uint32_t bits = weight_bits<T>(p, c, group, run, column, depth);
  if constexpr (kElement == 2) {
    bits |= weight_bits<T>(p, c, group, run, column, depth + 1) << 16;
  } else {
    const uint32_t whole[1] = {bits};
    uint32_t high[1], low[1];
    split(whole, high, low);
    bits = word < 2 ? high[0] : low[0];
  }
  *to = bits;
}

}  // namespace convt3d::cuda::subpixel_gemm
