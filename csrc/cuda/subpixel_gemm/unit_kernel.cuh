// SPDX-License-Identifier: BSD-3-Clause
// Forward where a block has all channels of a pixel: the product of kernel.cuh, a *unit* at a time
// and each by one warp alone. A unit is 32 positions (a line of them, some, or a part of one) and a
// run of lines of the output: neighbours in h, of one residue of d and, in NCDHW, one out channel.
//
//     inputs q - u from the workspace                      weights of a chunk of runs, in shared
//                    \                                        /     memory in the order of lanes
//                     sums [32][columns of a group] in registers
//                                   |
//     the warp's stage: the run's lines as they are in the output -> whole 16 bytes -> output
//
// pack_units() puts the operands into the workspace first: weights in the order of lanes, split for
// float32; and inputs between zeros, so that nothing asks where the input ends. In 16 bits a word
// has two neighbours in w, and depth runs from the last tap of w to the first.
#pragma once
#include "cuda/common/doubtful.cuh"
#include "cuda/common/mma_sync.cuh"
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

// One output in float32, without bias: the products that there are.
template <typename T>
__device__ float output_again(const Params& p, int n, int group, int out, const int (&q)[3],
                              const int (&residue)[3]) {
  float sum = 0;
#pragma unroll 1
  for (int in = 0; in < p.ins; ++in) {
    const T* const x = static_cast<const T*>(p.input) + n * p.input_stride[0] +
                       (int64_t{group} * p.ins + in) * p.input_stride[1];
    const T* const y = static_cast<const T*>(p.weight) +
                       (int64_t{group} * p.ins + in) * p.weight_stride[0] +
                       out * p.weight_stride[1];
#pragma unroll 1
    for (int d = residue[0], at_d = q[0]; d < p.kernel[0]; d += p.stride[0], --at_d) {
      if (at_d < 0 || at_d >= p.input_extent[0]) continue;
#pragma unroll 1
      for (int h = residue[1], at_h = q[1]; h < p.kernel[1]; h += p.stride[1], --at_h) {
        if (at_h < 0 || at_h >= p.input_extent[1]) continue;
#pragma unroll 1
        for (int w = residue[2], at_w = q[2]; w < p.kernel[2]; w += p.stride[2], --at_w) {
          if (at_w < 0 || at_w >= p.input_extent[2]) continue;
          sum = fmaf(
              widen(x[at_d * p.input_stride[2] + at_h * p.input_stride[3] +
                      at_w * p.input_stride[4]]),
              widen(y[d * p.weight_stride[2] + h * p.weight_stride[3] + w * p.weight_stride[4]]),
              sum);
        }
      }
    }
  }
  return sum;
}

// Bytes of shared memory to the output, from the same place modulo 16 on, by a warp.
template <typename T>
__device__ __forceinline__ void copy_out(unsigned char* to, const unsigned char* from, int bytes) {
  const int lane = threadIdx.x % 32;
  const int head = min(static_cast<int>(-reinterpret_cast<uintptr_t>(to) & 15), bytes);
  const int pieces = (bytes - head) / 16, tail = head + pieces * 16;
  const int single = lane < 16 ? lane * static_cast<int>(sizeof(T))
                               : tail + (lane - 16) * static_cast<int>(sizeof(T));
  if (single < (lane < 16 ? head : bytes)) {
    *reinterpret_cast<T*>(to + single) = *reinterpret_cast<const T*>(from + single);
  }
#pragma unroll 4
  for (int i = lane; i < pieces; i += 32) {
    reinterpret_cast<uint4*>(to + head)[i] = reinterpret_cast<const uint4*>(from + head)[i];
  }
}

template <Precision kPrecision>
__global__ void __launch_bounds__(kUnitThreads, 1) unit_kernel(const __grid_constant__ Params p) {
  using T = ElementOf<kPrecision>;
  constexpr int kElement = sizeof(T);
  constexpr bool kSplit = kPrecision == Precision::fp32;
  extern __shared__ __align__(128) unsigned char memory[];
  const Config& config = p.config;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;

  int of_class = 0;
  int block = static_cast<int>(blockIdx.x);
  while (of_class + 1 < config.num_classes && block >= config.classes[of_class + 1].first_block) {
    ++of_class;
  }
  const ResidueClass& c = config.classes[of_class];
  block -= c.first_block;
  const int part = block % c.splits;
  block /= c.splits;
  const int first_run = block % c.chunks * c.runs, group = block / c.chunks * config.tile_groups;
  const int all_runs = p.line_outs * c.residues[0] * runs_h(c);
  const int runs = min(c.runs, all_runs - first_run);
  const int all_units = c.tiles * runs;
  const int share = part * kUnitWarps + warp, shares = c.splits * kUnitWarps;
  const int first_unit = static_cast<int>(int64_t{all_units} * share / shares);
  const int end_unit = static_cast<int>(int64_t{all_units} * (share + 1) / shares);

  const UnitPlaces places(config, c, p.stride[2], kElement, p.output_extent[2]);
  ColumnPair* const columns = reinterpret_cast<ColumnPair*>(memory + places.columns);
  int* const offsets = reinterpret_cast<int*>(memory + places.offsets);
  const int channels = config.tile_groups * config.tile_outs, pixel = channels * kElement;
  const int tiles = c.columns / 8, steps = c.depth * kElement / 32;
  const int words = run_words(c, kElement);
  const int plane = config.copy_extent[1] * config.copy_extent[2];
  {
    const uint32_t* const packed = reinterpret_cast<const uint32_t*>(p.parts) + c.part;
    for (int g = 0; g < config.tile_groups; ++g) {
      const uint32_t* const from = packed + (int64_t{group + g} * all_runs + first_run) * words;
      const uint32_t to = shared_address(memory + places.weights) + g * c.runs * words * 4;
      for (int i = threadIdx.x * 4; i < runs * words; i += kUnitThreads * 4) {
        copy_async<16>(to + i * 4, from + i, 16);
      }
    }
    copies_commit();
    for (int i = threadIdx.x; i < config.tile_groups * c.columns; i += kUnitThreads) {
      const int g = i / c.columns;
      const ColumnDigits digits(p, c, i % c.columns);
      const int out = g * config.tile_outs + digits.out;
      ColumnPair& pair = columns[i / 2];
      pair.offset[i % 2] =
          digits.line * places.line_bytes + digits.residue * pixel + out * kElement;
      pair.bias[i % 2] = 0;
      if (p.bias != nullptr && channels > 1 && digits.there(p)) {
        pair.bias[i % 2] =
            widen(static_cast<const T*>(p.bias)[(int64_t{group} * p.outs + out) * p.bias_stride]);
      }
    }
    const int taps_w = unit_taps_w(config.taps_w, kElement);
    for (int i = threadIdx.x; i < steps * 8; i += kUnitThreads) {
      int offset = 0;
      if (i * kPerWord<T> < p.ins * c.taps[0] * c.taps[1] * taps_w) {
        const DepthDigits digits(c, taps_w, i * kPerWord<T>);
        offset = (digits.in * config.copy_extent[0] - digits.u[0]) * plane -
                 digits.u[1] * config.copy_extent[2] - digits.u[2];
      }
      offsets[i] = offset;
    }
    copies_wait<0>();
  }
  __syncthreads();  // tables and weights are there

  const uint32_t* const inputs = reinterpret_cast<const uint32_t*>(p.parts) + config.copy;
  const int group_words = p.ins * config.copy_extent[0] * plane;
  unsigned char* const stage = memory + places.stage + warp * config.tile_lines * places.part_bytes;
  const int own_line = min(lane, config.tile_lines - 1);  // of positions, that this lane knows of
  // Rows of this lane: line of positions and place there.
  int row_line[4], row_w[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    row_line[i] = (lane / 4 + 8 * i) / config.tile_w;
    row_w[i] = (lane / 4 + 8 * i) % config.tile_w;
    if (row_line[i] >= config.tile_lines) row_line[i] = -1;
  }
  int row[4];         // words from `inputs`
  uint32_t there[2];  // a bit for each of this lane's sums: 16 columns of row 2 * i, and 2 * i + 1
  int n = 0, q[2] = {0, 0}, first_w = 0;  // of own_line

  int tile = first_unit / runs, run = first_unit % runs;
  bool new_tile = true;
#pragma unroll 1
  for (int unit = first_unit; unit < end_unit; ++unit) {
    if (new_tile) {
      first_w = tile % config.parts_w * config.step_w;
      int rest = tile / config.parts_w * config.tile_lines + own_line;
      q[1] = c.first_q[1] + rest % c.num_q[1];
      rest /= c.num_q[1];
      q[0] = c.first_q[0] + rest % c.num_q[0];
      n = rest / c.num_q[0];
      const int own_words = (min(n, p.batch - 1) * p.groups * p.ins * config.copy_extent[0] + q[0] -
                             config.copy_first[0]) *
                                plane +
                            (q[1] - config.copy_first[1]) * config.copy_extent[2] + first_w +
                            config.first_q - config.copy_first[2];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        row[i] =
            __shfl_sync(~0u, own_words, max(row_line[i], 0)) + (row_line[i] < 0 ? 0 : row_w[i]);
      }
      if (unit == first_unit || config.parts_w > 1) {
        const int w = (config.first_q + first_w) * p.stride[2] - p.padding[2];
        there[0] = there[1] = 0;
#pragma unroll 1
        for (int j = 0; j < 2 * tiles; ++j) {
          const ColumnDigits digits(p, c, j / 2 * 8 + lane % 4 * 2 + j % 2);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const unsigned at = w + row_w[i] * p.stride[2] + digits.residue;
            const bool inside = row_line[i] >= 0 && digits.there(p) &&
                                at < static_cast<unsigned>(p.output_extent[2]);
            there[i / 2] |= (inside ? 1u : 0u) << (j + i % 2 * 16);
          }
        }
      }
    }

    const RunDigits digits(c, first_run + run);
    const int w = (config.first_q + first_w) * p.stride[2] - p.padding[2];  // of element 0
    const int d = q[0] * p.stride[0] + digits.residue[0] - p.padding[0];
    const int h = q[1] * p.stride[1] + digits.residue[1] - p.padding[1];
    // Where element 0 of line 0 would be: pixels from the output, and bytes modulo 16.
    const int plane_of = channels == 1 ? (n * p.groups + group) * p.outs + digits.out : n;
    const uint32_t low_pixels =
        ((static_cast<uint32_t>(plane_of) * p.output_extent[0] + d) * p.output_extent[1] + h) *
            p.output_extent[2] +
        w;
    const int own_phase = static_cast<int>(
        (static_cast<uint32_t>(reinterpret_cast<uintptr_t>(p.output)) + low_pixels * pixel) & 15);
    float run_bias = 0;
    if (p.bias != nullptr && channels == 1) {
      run_bias = widen(
          static_cast<const T*>(p.bias)[(int64_t{group} * p.outs + digits.out) * p.bias_stride]);
    }

    for (int g = 0; g < config.tile_groups; ++g) {
      float sums[kUnitTiles][2][4] = {};
      const unsigned char* weights =
          memory + places.weights + (g * c.runs + run) * words * 4 + lane * (kSplit ? 16 : 8);
      const auto load_inputs = [&](int step, uint32_t(&x)[2][4]) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int offset = offsets[step * 8 + half * 4 + lane % 4] + (group + g) * group_words;
#pragma unroll
          for (int i = 0; i < 4; ++i) x[i / 2][i % 2 + 2 * half] = inputs[row[i] + offset];
        }
      };
      uint32_t next[2][4];
      if (steps > 0) load_inputs(0, next);
#pragma unroll(kSplit ? 1 : 2)
      for (int s = 0; s < steps; ++s) {
        uint32_t a[2][4], a_rest[2][4];
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          if constexpr (kSplit) {
            split(next[m], a[m], a_rest[m]);
          } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) a[m][i] = next[m][i];
          }
        }
        if (s + 1 < steps) load_inputs(s + 1, next);
#pragma unroll
        for (int j = 0; j < kUnitTiles; ++j) {
          if (j >= tiles) break;
          if constexpr (kSplit) {
            const uint4 y = *reinterpret_cast<const uint4*>(weights + j * 512);
            const uint32_t high[2] = {y.x, y.y}, low[2] = {y.z, y.w};
#pragma unroll
            for (int m = 0; m < 2; ++m) {
              float product[4] = {};
              mma_sync<T>(product, a_rest[m], high);
              mma_sync<T>(product, a[m], low);
              mma_sync<T>(product, a[m], high);
#pragma unroll
              for (int i = 0; i < 4; ++i) sums[j][m][i] += product[i];
            }
          } else {
            const uint2 y = *reinterpret_cast<const uint2*>(weights + j * 256);
            const uint32_t whole[2] = {y.x, y.y};
#pragma unroll
            for (int m = 0; m < 2; ++m) mma_sync<T>(sums[j][m], a[m], whole);
          }
        }
        weights += tiles * (kSplit ? 512 : 256);
      }

      // To the stage.
      int row_at[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int line = max(row_line[i], 0);
        row_at[i] = line * places.part_bytes + __shfl_sync(~0u, own_phase, line) +
                    row_w[i] * p.stride[2] * pixel;
      }
      AnyDoubtful<kSplit> any;
#pragma unroll
      for (int j = 0; j < kUnitTiles; ++j) {
        if (j >= tiles) break;
        const ColumnPair pair = columns[g * c.columns / 2 + j * 4 + lane % 4];
        const float bias[2] = {pair.bias[0] + run_bias, pair.bias[1] + run_bias};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float first = sums[j][i / 2][i % 2 * 2], second = sums[j][i / 2][i % 2 * 2 + 1];
          const bool has_first = there[i / 2] >> (2 * j + i % 2 * 16) & 1;
          const bool has_second = there[i / 2] >> (2 * j + 1 + i % 2 * 16) & 1;
          unsigned char* const to = stage + row_at[i];
          if constexpr (kElement == 2) {
            const uint32_t both = pack_pair<T>(first + bias[0], second + bias[1]);
            if (has_first) {
              any.see(first);
              *reinterpret_cast<unsigned short*>(to + pair.offset[0]) =
                  static_cast<unsigned short>(both);
            }
            if (has_second) {
              any.see(second);
              *reinterpret_cast<unsigned short*>(to + pair.offset[1]) =
                  static_cast<unsigned short>(both >> 16);
            }
          } else {
            if (has_first) {
              any.see(first);
              *reinterpret_cast<float*>(to + pair.offset[0]) = first + bias[0];
            }
            if (has_second) {
              any.see(second);
              *reinterpret_cast<float*>(to + pair.offset[1]) = second + bias[1];
            }
          }
        }
      }
      if (any.found()) {
        uint32_t doubtful[2] = {0, 0};
#pragma unroll
        for (int j = 0; j < kUnitTiles; ++j) {
          if (j >= tiles) break;
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            const uint32_t bit = is_doubtful<kSplit>(sums[j][i / 4][i % 4]) ? 1u : 0u;
            doubtful[i / 4] |= bit << (2 * j + i % 2 + i / 2 % 2 * 16);
          }
        }
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          uint32_t left = doubtful[m] & there[m];
#pragma unroll 1
          for (; left != 0; left &= left - 1) {
            const int bit = __ffs(static_cast<int>(left)) - 1;
            const int j = bit % 16, i = 2 * m + bit / 16;
            const int of_row = lane / 4 + 8 * i;
            int line = tile / config.parts_w * config.tile_lines + of_row / config.tile_w;
            const int q_w = config.first_q + first_w + of_row % config.tile_w;
            const int q_h = c.first_q[1] + line % c.num_q[1];
            line /= c.num_q[1];
            const int at[3] = {c.first_q[0] + line % c.num_q[0], q_h, q_w};
            const int of_n = line / c.num_q[0];
            if (of_n >= p.batch) continue;
            const ColumnDigits column(p, c, j / 2 * 8 + lane % 4 * 2 + j % 2);
            const int residue[3] = {digits.residue[0], digits.residue[1] + column.line,
                                    column.residue};
            const ColumnPair& pair = columns[g * c.columns / 2 + j / 2 * 4 + lane % 4];
            const float sum =
                output_again<T>(p, of_n, group + g, digits.out + column.out, at, residue);
            const int base = bit < 16 ? row_at[2 * m] : row_at[2 * m + 1];
            *reinterpret_cast<T*>(stage + base + pair.offset[j % 2]) =
                narrow<T>(sum + (pair.bias[j % 2] + run_bias));
          }
        }
      }
    }
    __syncwarp();  // the stage is there
    const int begin = max(0, -w);
    const int end = min(config.step_w * p.stride[2], p.output_extent[2] - w);
    const int first_line = max(0, -h);
    int end_line =
        min(min(c.lines, c.residue[1] + c.residues[1] - digits.residue[1]), p.output_extent[1] - h);
    if (d < 0 || d >= p.output_extent[0] || n >= p.batch) end_line = 0;
    unsigned char* const output =
        static_cast<unsigned char*>(p.output) +
        (((int64_t{plane_of} * p.output_extent[0] + d) * p.output_extent[1] + h) *
             p.output_extent[2] +
         w) *
            pixel;
    for (int line = 0; line < config.tile_lines; ++line) {
      const int from_line = __shfl_sync(~0u, first_line, line);
      const int to_line = __shfl_sync(~0u, end_line, line);
      unsigned char* const to = reinterpret_cast<unsigned char*>(
          __shfl_sync(~0u, reinterpret_cast<unsigned long long>(output), line));
      const unsigned char* const from = stage + line * places.part_bytes +
                                        static_cast<int>(reinterpret_cast<uintptr_t>(to) & 15) +
                                        begin * pixel;
      const int output_line = p.output_extent[2] * pixel;
      if (from_line >= to_line) continue;
      if (places.merged) {
        const int skip = from_line * output_line;
        copy_out<T>(to + skip + begin * pixel, from + skip, (to_line - from_line) * output_line);
      } else {
        for (int l = from_line; l < to_line; ++l) {
          copy_out<T>(to + int64_t{l} * output_line + begin * pixel, from + l * places.line_bytes,
                      (end - begin) * pixel);
        }
      }
    }
    __syncwarp();  // the stage has been read
    new_tile = ++run == runs;
    if (new_tile) {
      run = 0;
      ++tile;
    }
  }
}

}  // namespace convt3d::cuda::subpixel_gemm
