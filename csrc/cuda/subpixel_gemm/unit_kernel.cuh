// SPDX-License-Identifier: BSD-3-Clause
// Forward where all channels of a pixel are neighbours: the product of kernel.cuh, a *unit* at a
// time and each by one warp alone. A unit is 32 positions (a line of them, some, or a part of one)
// and a run of lines of the output: neighbours in h, of one residue of d and, in NCDHW, of one out
// channel. In NDHWC all groups are in a unit, one after the other.
//
//     inputs q - u from the workspace        weights of a chunk of runs: stay in shared memory
//                       \                    /
//              sums [32][columns of a group], in registers
//                               |
//     the warp's stage: the run's lines as they are in the output -> whole 16 bytes -> output
//
// No warp waits for another after the start. supports() guarantees what kernel.cuh says; and
// search_units() that units, and words of the workspace, fit in 32 bits.
#pragma once
#include "cuda/common/doubtful.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/subpixel_gemm/unit_operands.cuh"

namespace convt3d::cuda::subpixel_gemm {

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

// What a block does: a chunk of runs of some groups; and a warp: units of them, tile by tile.
struct UnitJob {
  const ResidueClass* c;
  int group, all_runs, first_run, runs, first_unit, end_unit;

  __device__ UnitJob(const Params& p, int block) {
    int index = 0;
    while (index + 1 < p.config.num_classes && block >= p.config.classes[index + 1].first_block) {
      ++index;
    }
    c = &p.config.classes[index];
    block -= c->first_block;
    const int share = block % c->splits * kUnitWarps + static_cast<int>(threadIdx.x) / 32;
    const int shares = c->splits * kUnitWarps;
    block /= c->splits;
    first_run = block % c->chunks * c->runs;
    group = block / c->chunks * p.config.tile_groups;
    all_runs = p.line_outs * c->residues[0] * runs_h(*c);
    runs = min(c->runs, all_runs - first_run);
    const int64_t units = int64_t{c->tiles} * runs;
    first_unit = static_cast<int>(units * share / shares);
    end_unit = static_cast<int>(units * (share + 1) / shares);
  }
};

// The tables, weights and this warp's stage in shared memory.
template <typename T>
struct UnitShared {
  static constexpr int kElement = sizeof(T);
  static constexpr int kLaneBytes = kElement == 4 ? 16 : 8;  // of a step of an n8 tile
  UnitPlaces places;
  ColumnPair* columns;
  int* offsets;  // of depth, from a position's inputs: words
  unsigned char *weights, *stage;

  __device__ UnitShared(const Params& p, const ResidueClass& c, unsigned char* memory)
      : places(p.config, c, p.stride[2], kElement, p.output_extent[2]),
        columns(reinterpret_cast<ColumnPair*>(memory + places.columns)),
        offsets(reinterpret_cast<int*>(memory + places.offsets)),
        weights(memory + places.weights),
        stage(memory + places.stage + threadIdx.x / 32 * p.config.tile_lines * places.part_bytes) {}
};

// Elements of the channels of a pixel in a unit, and their bytes.
__device__ __forceinline__ int unit_channels(const Params& p) {
  return p.config.tile_groups * p.config.tile_outs;
}

template <typename T>
__device__ __forceinline__ void fill_unit_tables(const Params& p, const UnitJob& job,
                                                 const UnitShared<T>& shared) {
  constexpr int kElement = sizeof(T);
  const ResidueClass& c = *job.c;
  const Config& config = p.config;
  const int words = run_words(c, kElement);
  const uint32_t* const packed = reinterpret_cast<const uint32_t*>(p.parts) + c.part;
  for (int g = 0; g < config.tile_groups; ++g) {
    const uint32_t* const from =
        packed + (int64_t{job.group + g} * job.all_runs + job.first_run) * words;
    const uint32_t to = shared_address(shared.weights) + g * c.runs * words * 4;
    for (int i = static_cast<int>(threadIdx.x) * 4; i < job.runs * words; i += kUnitThreads * 4) {
      copy_async<16>(to + i * 4, from + i, 16);
    }
  }
  copies_commit();
  const int channels = unit_channels(p);
  for (int i = threadIdx.x; i < config.tile_groups * c.columns; i += kUnitThreads) {
    const ColumnDigits digits(p, c, i % c.columns);
    const int out = i / c.columns * config.tile_outs + digits.out;
    ColumnPair& pair = shared.columns[i / 2];
    pair.offset[i % 2] =
        digits.line * shared.places.line_bytes + (digits.residue * channels + out) * kElement;
    pair.bias[i % 2] = 0;
    if (p.bias != nullptr && channels > 1 && digits.there(p)) {
      pair.bias[i % 2] =
          widen(static_cast<const T*>(p.bias)[(int64_t{job.group} * p.outs + out) * p.bias_stride]);
    }
  }
  const int taps_w = unit_taps_w(config.taps_w, kElement);
  const int line = config.copy_extent[2], plane = config.copy_extent[1] * line;
  for (int i = threadIdx.x; i < c.depth / kPerWord<T>; i += kUnitThreads) {
    int offset = 0;
    if (i * kPerWord<T> < p.ins * c.taps[0] * c.taps[1] * taps_w) {
      const DepthDigits digits(c, taps_w, i * kPerWord<T>);
      offset = (digits.in * config.copy_extent[0] - digits.u[0]) * plane - digits.u[1] * line -
               digits.u[2];
    }
    shared.offsets[i] = offset;
  }
  copies_wait<0>();
}

// The positions of a tile, as a lane sees them: its four rows of the product, lane / 4 + 8 * i,
// and a line of positions that it knows for all.
struct UnitRows {
  uint32_t row[4];    // line of the tile on top, place in the line below; none: kNoLine
  int inputs[4];      // words from the copy's start
  uint32_t there[2];  // a bit for each of the lane's sums: 16 columns of row 2 * i and 2 * i + 1
  int n, q[2], first_w;

  static constexpr uint32_t kNoLine = 1u << 31;  // line and place are 0 then

  __device__ UnitRows(const Params& p) : inputs{}, there{}, n(0), q{}, first_w(0) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = static_cast<int>(threadIdx.x) % 32 / 4 + 8 * i;
      const int of_line = at / p.config.tile_w;
      row[i] = of_line < p.config.tile_lines
                   ? static_cast<uint32_t>(of_line << 16 | at % p.config.tile_w)
                   : kNoLine;
    }
  }
  __device__ int line(int i) const { return row[i] >> 16 & 0xff; }
  __device__ int place(int i) const { return row[i] & 0xff; }

  // Of element 0 of the tile's lines.
  __device__ int output_w(const Params& p) const {
    return (p.config.first_q + first_w) * p.stride[2] - p.padding[2];
  }

  __device__ void move_to(const Params& p, const ResidueClass& c, int tile) {
    const Config& config = p.config;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    first_w = tile % config.parts_w * config.step_w;
    int rest = tile / config.parts_w * config.tile_lines + min(lane, config.tile_lines - 1);
    q[1] = c.first_q[1] + rest % c.num_q[1];
    rest /= c.num_q[1];
    q[0] = c.first_q[0] + rest % c.num_q[0];
    n = rest / c.num_q[0];
    const int plane = min(n, p.batch - 1) * p.groups * p.ins * config.copy_extent[0] + q[0] -
                      config.copy_first[0];
    const int own =
        (plane * config.copy_extent[1] + q[1] - config.copy_first[1]) * config.copy_extent[2] +
        first_w + config.first_q - config.copy_first[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      inputs[i] = __shfl_sync(~0u, own, line(i)) + place(i);
    }
  }

  __device__ void find_sums(const Params& p, const ResidueClass& c) {
    const int w = output_w(p);
    there[0] = there[1] = 0;
#pragma unroll 1
    for (int j = 0; j < c.columns / 4; ++j) {
      const ColumnDigits digits(p, c, j / 2 * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + j % 2);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const unsigned at = w + place(i) * p.stride[2] + digits.residue;
        const bool inside =
            row[i] != kNoLine && digits.there(p) && at < static_cast<unsigned>(p.output_extent[2]);
        there[i / 2] |= (inside ? 1u : 0u) << (j + i % 2 * 16);
      }
    }
  }
};

// sums[n8 tile][m16 tile][...]
using UnitSums = float[kUnitTiles][2][4];

// The sums of group `g` of the job's.
template <Precision kPrecision>
__device__ __forceinline__ void multiply_run(const Params& p, const UnitJob& job,
                                             const UnitShared<ElementOf<kPrecision>>& shared,
                                             const UnitRows& rows, int run, int g, UnitSums& sums) {
  using T = ElementOf<kPrecision>;
  constexpr int kElement = sizeof(T), kLaneBytes = UnitShared<T>::kLaneBytes;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  const ResidueClass& c = *job.c;
  const int lane = threadIdx.x % 32, tiles = c.columns / 8, steps = c.depth * kElement / 32;
  const uint32_t* const inputs = reinterpret_cast<const uint32_t*>(p.parts) + p.config.copy;
  const int group_at = (job.group + g) * p.ins * p.config.copy_extent[0] * p.config.copy_extent[1] *
                       p.config.copy_extent[2];
  const unsigned char* weights =
      shared.weights + (g * c.runs + run) * run_words(c, kElement) * 4 + lane * kLaneBytes;
  const auto load_inputs = [&](int step, uint32_t(&x)[2][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int offset = shared.offsets[step * 8 + half * 4 + lane % 4] + group_at;
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i / 2][i % 2 + 2 * half] = inputs[rows.inputs[i] + offset];
    }
  };
  uint32_t next[2][4];
  if (steps > 0) load_inputs(0, next);
#pragma unroll(kSplit ? 1 : 2)
  for (int s = 0; s < steps; ++s) {
    uint32_t x[2][4], x_rest[2][4];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      if constexpr (kSplit) {
        split(next[m], x[m], x_rest[m]);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) x[m][i] = next[m][i];
      }
    }
    if (s + 1 < steps) load_inputs(s + 1, next);
#pragma unroll
    for (int j = 0; j < kUnitTiles; ++j) {
      if (j >= tiles) break;
      if constexpr (kSplit) {
        // As in kernel.cuh: each step starts from zero, the small products first.
        const uint4 y = *reinterpret_cast<const uint4*>(weights + j * 32 * kLaneBytes);
        const uint32_t high[2] = {y.x, y.y}, low[2] = {y.z, y.w};
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          float product[4] = {};
          mma_sync<T>(product, x_rest[m], high);
          mma_sync<T>(product, x[m], low);
          mma_sync<T>(product, x[m], high);
#pragma unroll
          for (int i = 0; i < 4; ++i) sums[j][m][i] += product[i];
        }
      } else {
        const uint2 y = *reinterpret_cast<const uint2*>(weights + j * 32 * kLaneBytes);
        const uint32_t whole[2] = {y.x, y.y};
#pragma unroll
        for (int m = 0; m < 2; ++m) mma_sync<T>(sums[j][m], x[m], whole);
      }
    }
    weights += tiles * 32 * kLaneBytes;
  }
}

// Sums, with bias, to the stage; row_at: bytes to a row there. Those that are doubtful once more.
template <Precision kPrecision>
__device__ __forceinline__ void put_run(const Params& p, const UnitJob& job,
                                        const UnitShared<ElementOf<kPrecision>>& shared,
                                        const UnitRows& rows, const RunDigits& run, int tile, int g,
                                        float run_bias, const int (&row_at)[4],
                                        const UnitSums& sums) {
  using T = ElementOf<kPrecision>;
  constexpr bool kSplit = kPrecision == Precision::fp32;
  const ResidueClass& c = *job.c;
  const int lane = threadIdx.x % 32, tiles = c.columns / 8;
  const ColumnPair* const columns = shared.columns + g * c.columns / 2 + lane % 4;
  AnyDoubtful<kSplit> any;
#pragma unroll
  for (int j = 0; j < kUnitTiles; ++j) {
    if (j >= tiles) break;
    const ColumnPair pair = columns[j * 4];
    const float bias[2] = {pair.bias[0] + run_bias, pair.bias[1] + run_bias};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float both[2] = {sums[j][i / 2][i % 2 * 2], sums[j][i / 2][i % 2 * 2 + 1]};
      T rounded[2];
      if constexpr (sizeof(T) == 2) {
        *reinterpret_cast<uint32_t*>(rounded) = pack_pair<T>(both[0] + bias[0], both[1] + bias[1]);
      } else {
        rounded[0] = both[0] + bias[0], rounded[1] = both[1] + bias[1];
      }
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        if ((rows.there[i / 2] >> (2 * j + k + i % 2 * 16) & 1) == 0) continue;
        any.see(both[k]);
        *reinterpret_cast<T*>(shared.stage + row_at[i] + pair.offset[k]) = rounded[k];
      }
    }
  }
  if (!any.found()) return;
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
#pragma unroll 1
    for (uint32_t left = doubtful[m] & rows.there[m]; left != 0; left &= left - 1) {
      const int bit = __ffs(static_cast<int>(left)) - 1, j = bit % 16;
      const int row = lane / 4 + 16 * m + bit / 16 * 8;
      int rest = tile / p.config.parts_w * p.config.tile_lines + row / p.config.tile_w;
      const int q_w = p.config.first_q + rows.first_w + row % p.config.tile_w;
      const int q_h = c.first_q[1] + rest % c.num_q[1];
      rest /= c.num_q[1];
      const int q[3] = {c.first_q[0] + rest % c.num_q[0], q_h, q_w};
      const int n = rest / c.num_q[0];
      if (n >= p.batch) continue;
      const ColumnDigits column(p, c, j / 2 * 8 + lane % 4 * 2 + j % 2);
      const int residue[3] = {run.residue[0], run.residue[1] + column.line, column.residue};
      const ColumnPair& pair = columns[j / 2 * 4];
      const float sum = output_again<T>(p, n, job.group + g, run.out + column.out, q, residue);
      *reinterpret_cast<T*>(shared.stage + (bit < 16 ? row_at[2 * m] : row_at[2 * m + 1]) +
                            pair.offset[j % 2]) = narrow<T>(sum + (pair.bias[j % 2] + run_bias));
    }
  }
}

template <Precision kPrecision>
__global__ void __launch_bounds__(kUnitThreads, 1) unit_kernel(const __grid_constant__ Params p) {
  using T = ElementOf<kPrecision>;
  extern __shared__ __align__(128) unsigned char memory[];
  const Config& config = p.config;
  const UnitJob job(p, static_cast<int>(blockIdx.x));
  const ResidueClass& c = *job.c;
  const UnitShared<T> shared(p, c, memory);
  const int line_bytes = shared.places.line_bytes, part_bytes = shared.places.part_bytes;
  fill_unit_tables(p, job, shared);
  __syncthreads();  // tables and weights are there

  const int channels = unit_channels(p), pixel = channels * static_cast<int>(sizeof(T));
  UnitRows rows(p);
  int tile = job.first_unit / job.runs, run = job.first_unit % job.runs;
  bool moved = true;
#pragma unroll 1
  for (int unit = job.first_unit; unit < job.end_unit; ++unit) {
    if (moved) {
      rows.move_to(p, c, tile);
      if (unit == job.first_unit || config.parts_w > 1) rows.find_sums(p, c);
    }
    const RunDigits digits(c, job.first_run + run);
    const int d = rows.q[0] * p.stride[0] + digits.residue[0] - p.padding[0];
    const int h = rows.q[1] * p.stride[1] + digits.residue[1] - p.padding[1];
    const int w = rows.output_w(p);
    // Where element 0 of line 0 would be: pixels from the output, and bytes modulo 16.
    const int of_plane =
        channels == 1 ? (rows.n * p.groups + job.group) * p.outs + digits.out : rows.n;
    const uint32_t low_pixels =
        ((static_cast<uint32_t>(of_plane) * p.output_extent[0] + d) * p.output_extent[1] + h) *
            p.output_extent[2] +
        w;
    const int own_phase = static_cast<int>(
        (static_cast<uint32_t>(reinterpret_cast<uintptr_t>(p.output)) + low_pixels * pixel) & 15);
    float run_bias = 0;
    if (p.bias != nullptr && channels == 1) {
      run_bias = widen(static_cast<const T*>(
          p.bias)[(int64_t{job.group} * p.outs + digits.out) * p.bias_stride]);
    }
    for (int g = 0; g < config.tile_groups; ++g) {
      UnitSums sums = {};
      multiply_run<kPrecision>(p, job, shared, rows, run, g, sums);
      int row_at[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        row_at[i] = rows.line(i) * part_bytes + __shfl_sync(~0u, own_phase, rows.line(i)) +
                    rows.place(i) * p.stride[2] * pixel;
      }
      put_run<kPrecision>(p, job, shared, rows, digits, tile, g, run_bias, row_at, sums);
    }
    __syncwarp();  // the stage is there
    const int begin = max(0, -w), end = min(config.step_w * p.stride[2], p.output_extent[2] - w);
    const int own_first = max(0, -h);
    int own_end =
        min(min(c.lines, c.residue[1] + c.residues[1] - digits.residue[1]), p.output_extent[1] - h);
    if (d < 0 || d >= p.output_extent[0] || rows.n >= p.batch) own_end = 0;
    unsigned char* const output =
        static_cast<unsigned char*>(p.output) +
        (((int64_t{of_plane} * p.output_extent[0] + d) * p.output_extent[1] + h) *
             p.output_extent[2] +
         w) *
            pixel;
    for (int line = 0; line < config.tile_lines; ++line) {
      const int first_line = __shfl_sync(~0u, own_first, line);
      const int end_line = __shfl_sync(~0u, own_end, line);
      unsigned char* const to = reinterpret_cast<unsigned char*>(
          __shfl_sync(~0u, reinterpret_cast<unsigned long long>(output), line));
      const unsigned char* const from =
          shared.stage + line * part_bytes + (reinterpret_cast<uintptr_t>(to) & 15);
      // A run of whole lines is one piece.
      const int whole = shared.places.merged ? end_line - first_line : 1;
      for (int l = first_line; l < end_line; l += whole) {
        copy_out<T>(to + int64_t{l} * p.output_extent[2] * pixel + begin * pixel,
                    from + l * line_bytes + begin * pixel,
                    ((whole - 1) * p.output_extent[2] + end - begin) * pixel);
      }
    }
    __syncwarp();  // the stage has been read
    moved = ++run == job.runs;
    if (moved) run = 0, ++tile;
  }
}

}  // namespace convt3d::cuda::subpixel_gemm
