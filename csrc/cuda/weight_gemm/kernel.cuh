// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of one group as a matrix product per tap:
//
//   grad_weight[ci, co, t] = sum over n, i of  input[n, ci, i] * grad_output[n, co, s*i + d*t - p]
//
//   M = in_channels, N = (tap, out_channels), K = input positions (n, i)
//
//   box of input positions [positions][ci]         halo of grad_output [rows][co]
//        row q  --------------------------------->  row at(q) + shift(tap)
//   A: one fragment for all taps of a warp          B: one fragment per (tap, 16 co), a "unit"
//
// A tap is a shift by whole rows, because the rows of a line of the halo are ordered by residue.
// A block keeps to one job (group, in_channels, out_channels, box of taps) and walks over the tiles
// of its split; loading warps run ahead of the multiplying ones by up to kMaxStages stages.
//
// supports() guarantees 32-bit counts and coordinates; offsets are 64-bit. Any strides will do.
#pragma once
#include "cuda/weight_gemm/load.cuh"
#include "cuda/weight_gemm/multiply.cuh"

namespace convt3d::cuda::weight_gemm {

// Named barriers; 0 is that of __syncthreads(). All threads take part in each, half of them only
// by arriving.
__device__ __forceinline__ void barrier_wait(int id, int threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  asm volatile("barrier.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// What a block does.
struct Job {
  int group, in_channel, out_channel;  // first of the block, in its group
  int tap[3];
  int split, first_tile, end_tile;

  __device__ Job(const Params& p, unsigned block) {
    split = block / p.jobs;
    int rest = block - split * p.jobs;
    const auto take = [&rest](int count) {
      const int digit = rest % count;
      rest /= count;
      return digit;
    };
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) tap[axis] = take(p.tap_groups[axis]) * p.taps[axis];
    out_channel = take(p.out_tiles) * p.output.tile_channels;
    in_channel = take(p.in_tiles) * p.input.tile_channels;
    group = rest;
    first_tile = static_cast<int>(int64_t{p.all_tiles} * split / p.splits);
    end_tile = static_cast<int>(int64_t{p.all_tiles} * (split + 1) / p.splits);
  }
};

// Place of a halo position in its line: residue by residue.
__device__ __forceinline__ int place_in_line(const Params& p, int w) {
  return w % p.step[2] * (p.line / p.step[2]) + w / p.step[2];
}

// Halo row of local coordinates.
__device__ __forceinline__ int halo_row(const Params& p, int n, int d, int h, int w) {
  return ((n * p.halo[0] + d) * p.halo[1] + h) * p.line + place_in_line(p, w);
}

__device__ __forceinline__ Row make_row(const Side& side, int n, int d, int h, int w, int place) {
  const int64_t offset = n * side.stride[0] + d * side.step[0] * side.stride[2] +
                         h * side.step[1] * side.stride[3] + w * side.step[2] * side.stride[4];
  const auto at = static_cast<uint32_t>((d << kCoordinateBits | h) << kCoordinateBits | w);
  return {offset, at, static_cast<uint16_t>(n), static_cast<uint16_t>(place)};
}

__device__ __forceinline__ void fill_tables(const Params& p, Row* input_rows, Row* output_rows,
                                            int* position_rows) {
  const int count = p.box[0] * p.box[1] * p.box[2] * p.box[3];
  for (int q = threadIdx.x; q < p.positions; q += blockDim.x) {
    int rest = q;
    const int w = rest % p.box[3];
    rest /= p.box[3];
    const int h = rest % p.box[2];
    rest /= p.box[2];
    const int d = rest % p.box[1], n = rest / p.box[1];
    const bool real = q < count;
    input_rows[q] = make_row(p.input, n, d, h, w, q);
    if (!real) input_rows[q] = {0, 0, kNoImage, static_cast<uint16_t>(q)};
    position_rows[q] =
        real ? halo_row(p, n, p.step[0] * d, p.step[1] * h, p.step[2] * w) * p.output.pitch : 0;
  }
  for (int q = threadIdx.x; q < p.output.rows; q += blockDim.x) {
    int rest = q;
    const int w = rest % p.halo[2];
    rest /= p.halo[2];
    const int h = rest % p.halo[1];
    rest /= p.halo[1];
    const int d = rest % p.halo[0], n = rest / p.halo[0];
    output_rows[q] = make_row(p.output, n, d, h, w, halo_row(p, n, d, h, w));
  }
}

template <typename Bits>
__device__ __forceinline__ void produce(const Params& p, const Job& job, const Row* input_rows,
                                        const Row* output_rows, uint32_t stages) {
  const int warp = threadIdx.x / 32 - p.warps, lane = threadIdx.x % 32;
  const int threads = blockDim.x;
  // Copies of a tile are announced when those of the next are under way; loads through registers
  // take the thread's time, so nothing is put off for them.
  const bool asynchronous = p.input.whole_pieces && p.output.whole_pieces;
  Origin input{}, output{};
  input.channels = p.input.channels - job.in_channel;
  output.channels = p.output.channels - job.out_channel;
  input.first = (int64_t{job.group} * p.input.channels + job.in_channel) * p.input.stride[1];
  output.first = (int64_t{job.group} * p.output.channels + job.out_channel) * p.output.stride[1];
  int stage = 0, previous = 0;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile) {
    const int index = tile - job.first_tile;
    // Full: p.warps wait. Empty: they arrive once they have read the stage.
    if (index >= p.stages) barrier_wait(1 + p.stages + stage, threads);
    int rest = tile;
    input.offset = input.first;
    output.offset = output.first;
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      const int first = rest % p.tiles[1 + axis] * p.box[1 + axis];
      rest /= p.tiles[1 + axis];
      input.at[axis] = first;
      output.at[axis] = p.stride[axis] * first + p.dilation[axis] * job.tap[axis] - p.padding[axis];
      input.offset += first * p.input.stride[2 + axis];
      output.offset += output.at[axis] * p.output.stride[2 + axis];
    }
    const int image = rest * p.box[0];
    input.images = output.images = p.batch - image;
    input.offset += image * p.input.stride[0];
    output.offset += image * p.output.stride[0];
    const uint32_t target = stages + stage * p.stage_bytes;
    load_rows<Bits>(p.input, input_rows, input, target, warp, lane);
    load_rows<Bits>(p.output, output_rows, output, target + p.output_offset, warp, lane);
    copies_commit();
    if (asynchronous) {
      copies_wait<1>();
      if (index > 0) barrier_arrive(1 + previous, threads);
    } else {
      copies_wait<0>();
      barrier_arrive(1 + stage, threads);
    }
    previous = stage;
    stage = stage + 1 == p.stages ? 0 : stage + 1;
  }
  if (asynchronous) {
    copies_wait<0>();
    barrier_arrive(1 + previous, threads);
  }
}

template <typename Tile>
__device__ __forceinline__ void store_sums(const Params& p, const Job& job, const Sums<Tile>& sums,
                                           int in_part, int first_unit, int lane) {
  const int64_t taps = int64_t{p.kernel[0]} * p.kernel[1] * p.kernel[2];
  const int64_t ins = int64_t{p.groups} * p.input.channels, outs = p.output.channels;
#pragma unroll
  for (int u = 0; u < Tile::kUnits; ++u) {
    const int unit = first_unit + u;
    if (unit >= p.units) break;
    int rest = unit / p.out_parts;
    const int out_channel = job.out_channel + unit % p.out_parts * 16 + lane % 4 * 2;
    const int w = job.tap[2] + rest % p.taps[2];
    rest /= p.taps[2];
    const int h = job.tap[1] + rest % p.taps[1], d = job.tap[0] + rest / p.taps[1];
    if (w >= p.kernel[2] || h >= p.kernel[1] || d >= p.kernel[0]) continue;
    const int64_t tap = (int64_t{d} * p.kernel[1] + h) * p.kernel[2] + w;
#pragma unroll
    for (int i = 0; i < Tile::kBlocksM; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int in_channel = job.in_channel + in_part * Tile::kM + 16 * i + 8 * half + lane / 4;
        if (in_channel >= p.input.channels) continue;
        float* row = p.partial + ((job.split * taps + tap) * ins +
                                  int64_t{job.group} * p.input.channels + in_channel) *
                                     outs;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int out = out_channel + 8 * j;
          const float first = sums[u][i][j][2 * half], second = sums[u][i][j][2 * half + 1];
          if (outs % 2 == 0 && out < outs) {
            *reinterpret_cast<float2*>(row + out) = make_float2(first, second);
          } else {
            if (out < outs) row[out] = first;
            if (out + 1 < outs) row[out + 1] = second;
          }
        }
      }
    }
  }
}

template <Precision kPrecision, typename Tile>
__device__ __forceinline__ void consume(const Params& p, const Job& job, uint32_t position_rows,
                                        uint32_t stages) {
  using T = ElementOf<kPrecision>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, threads = blockDim.x;
  const int in_part = warp % p.in_parts, first_unit = warp / p.in_parts * Tile::kUnits;
  // The lane's part of a fragment's address: for ldmatrix a row's first byte, else a word.
  constexpr bool kNarrow = sizeof(T) == 2;
  const int row_a = kNarrow ? lane % 8 + lane / 16 * 8 : lane % 4;
  const int column_a = kNarrow ? lane / 8 % 2 * 16 : lane / 4 * 4;
  const int row_b = kNarrow ? lane % 16 : lane % 4;
  const int column_b = kNarrow ? lane / 16 * 16 : lane / 4 * 4;
  const int input_at =
      row_a * p.input.pitch + column_a + in_part * Tile::kM * static_cast<int>(sizeof(T));
  int unit[Tile::kUnits];
#pragma unroll
  for (int u = 0; u < Tile::kUnits; ++u) {
    const int index = min(first_unit + u, p.units - 1);
    int rest = index / p.out_parts;
    const int w = rest % p.taps[2];
    rest /= p.taps[2];
    const int h = rest % p.taps[1], d = rest / p.taps[1];
    unit[u] =
        halo_row(p, 0, d * p.tap_step[0], h * p.tap_step[1], w * p.tap_step[2]) * p.output.pitch +
        index % p.out_parts * 16 * static_cast<int>(sizeof(T)) + column_b;
  }
  Sums<Tile> sums = {};
  int stage = 0;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile) {
    barrier_wait(1 + stage, threads);
    uint32_t input = stages + stage * p.stage_bytes + input_at;
    const uint32_t output = stages + stage * p.stage_bytes + p.output_offset;
    uint32_t at = position_rows + 4 * row_b;
#pragma unroll 1  // registers
    for (int q = 0; q < p.positions; q += 16) {
      if constexpr (kNarrow) {
        multiply_16bit<T, Tile>(sums, input, output + load_shared(at), unit);
      } else {
#pragma unroll(kPrecision == Precision::fp32 ? 1 : 2)  // registers
        for (int step = 0; step < 16; step += 8) {
          const uint32_t outputs[2] = {output + load_shared(at + 4 * step),
                                       output + load_shared(at + 4 * step + 16)};
          multiply_32bit<kPrecision, Tile>(sums, input + step * p.input.pitch, p.input.pitch,
                                           outputs, unit);
        }
      }
      input += 16 * p.input.pitch;
      at += 4 * 16;
    }
    // Nobody waits for a stage that is not loaded again.
    if (tile + p.stages < job.end_tile) barrier_arrive(1 + p.stages + stage, threads);
    stage = stage + 1 == p.stages ? 0 : stage + 1;
  }
  store_sums<Tile>(p, job, sums, in_part, first_unit, lane);
}

template <Precision kPrecision, typename Tile>
__global__ __launch_bounds__(kMaxThreads, 1) void weight_kernel(const __grid_constant__ Params p) {
#if __CUDA_ARCH__ < 1000  // ptxas has 4 to 16 bytes of registers too few there: see supports()
  using Bits = std::conditional_t<sizeof(ElementOf<kPrecision>) == 2, unsigned short, uint32_t>;
  extern __shared__ __align__(128) unsigned char memory[];
  Row* input_rows = reinterpret_cast<Row*>(memory + p.stages * p.stage_bytes);
  Row* output_rows = input_rows + p.positions;
  int* position_rows = reinterpret_cast<int*>(output_rows + p.output.rows);
  const Job job(p, blockIdx.x);
  fill_tables(p, input_rows, output_rows, position_rows);
  __syncthreads();  // the tables are written
  const uint32_t stages = shared_address(memory);
  if (static_cast<int>(threadIdx.x) < 32 * p.warps) {
    consume<kPrecision, Tile>(p, job, shared_address(position_rows), stages);
  } else {
    produce<Bits>(p, job, input_rows, output_rows, stages);
  }
#endif
}

}  // namespace convt3d::cuda::weight_gemm
