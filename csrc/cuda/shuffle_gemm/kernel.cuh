// SPDX-License-Identifier: BSD-3-Clause
// Forward where kernel = stride, padding = 0: blocks of outputs that do not overlap.
//
//   output[n, co, s * i + t] = bias[co] + sum over ci of  input[n, ci, i] * weight[ci, co, t]
//
// One GEMM, whose result is shuffled as it is written:
//   M  positions (n, i)         N  columns (co, t), t innermost; (t, co) for NDHWC results
//   K  in_channels              A  input, [K][M] in NCDHW, [M][K] in NDHWC; B  weight as it lies
//
//              columns of a slice (kN)
//             +-----------+                     A block keeps to one slice and walks over tiles of
//   chunk of  | B         | resident, or        positions, kStages chunks ahead with cp.async.
//   K         +-----------+ kStages slots       Warps tile the block's kM x kN; each adds up its
//   +-------+ +-----+-----+                     part in registers, stages it in the order of the
//   | A     | |warp |warp | kWarpM x kWarpN     output, and stores whole lines, while the copies
//   | kM    | +-----+-----+ sums each           of the next tile are under way.
//   +-------+ |warp |warp |
//
// supports() guarantees: forward, one group, fewer than 2**30 positions, channels and columns,
// fewer than 2**30 outputs in an image of one channel, a dense result. Any strides and alignment of
// input and weight: launch() finds the widest access that fits, down to single elements.
#pragma once
#include "cuda/shuffle_gemm/multiply.cuh"
#include "cuda/shuffle_gemm/store.cuh"

namespace convt3d::cuda::shuffle_gemm {

// Of the columns of a slice; behind the last one -1, and bias 0.
template <typename T>
__device__ __forceinline__ void describe_column(const Params& p, int column, int64_t* output,
                                                int64_t* weight, float* bias) {
  *output = *weight = -1;
  *bias = 0;
  if (column >= p.columns) return;
  const int taps = p.kernel[0] * p.kernel[1] * p.kernel[2];
  const int channel = p.taps_inner ? column / taps : column % p.out_channels;
  const int tap = p.taps_inner ? column % taps : column / p.out_channels;
  const int w = tap % p.kernel[2], line = tap / p.kernel[2];
  const int h = line % p.kernel[1], d = line / p.kernel[1];
  *output = channel * p.output_stride[1] + d * p.output_stride[2] + h * p.output_stride[3] +
            w * p.output_stride[4];
  *weight = channel * p.weight_stride[1] + d * p.weight_stride[2] + h * p.weight_stride[3] +
            w * p.weight_stride[4];
  if (p.bias) *bias = widen(static_cast<const T*>(p.bias)[channel * p.bias_stride]);
}

template <Precision kPrecision, typename Tile, bool kChannelsInner>
__global__ void __launch_bounds__(Tile::kThreads, blocks_per_sm<Tile>(kPrecision))
    shuffle_kernel(const __grid_constant__ Params p) {
  using T = ElementOf<kPrecision>;
  using Shared = SharedMemory<Tile, sizeof(T)>;
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int slice = static_cast<int>(blockIdx.x) % p.slices;
  const int walker = static_cast<int>(blockIdx.x) / p.slices;

  auto* const column_output = reinterpret_cast<int64_t*>(shared + Shared::kColumnOutput);
  auto* const column_weight = reinterpret_cast<int64_t*>(shared + Shared::kColumnWeight);
  auto* const column_bias = reinterpret_cast<float*>(shared + Shared::kColumnBias);
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kN; i += Tile::kThreads) {
    describe_column<T>(p, slice * Tile::kN + i, &column_output[i], &column_weight[i],
                       &column_bias[i]);
  }
  // Rows of the tiles under way, in a ring. They are described a barrier before they are read.
  auto* const rows = reinterpret_cast<Row*>(shared + Shared::kRows);
  const auto describe_rows = [&](int tile, int place) {
    const int row = static_cast<int>(threadIdx.x);
    if (row < Tile::kM) rows[place * Tile::kM + row] = describe_row(p, tile * Tile::kM + row);
  };

  const int first_row = warp / Tile::kWarpsN * kWarpM;
  const int first_column = warp % Tile::kWarpsN * Tile::kWarpN;
  const uint32_t base = shared_address(shared);
  const uint32_t row_bytes = kChannelsInner ? Shared::kChannelsPitch : sizeof(T);

  // The chunk that is loaded next.
  int load_tile = walker, load_chunk = 0, load_stage = 0, load_place = 0;
  ChannelCursor<T> from_input, from_weight;
  const auto load = [&] {
    if (load_tile < p.tiles) {
      const Row* const tile_rows = rows + load_place * Tile::kM;
      const uint32_t input = base + Shared::kInput + load_stage * Shared::kInputBytes;
      if constexpr (kChannelsInner) {
        load_positions<T, Tile>(p, input, load_chunk * Shared::kChunk, tile_rows);
      } else {
        if (load_chunk == 0) {
          from_input = begin_channels<T, Tile::kM, Shared::kPositionsPitch>(
              p.input, p.input_access, p.input_stride[1], p.channels,
              [&](uint32_t column) { return tile_rows[column].input; });
        }
        load_channels<T, Shared::kChunk, Tile::kM, Shared::kPositionsPitch, Tile::kThreads>(
            &from_input, input, p.input_access, p.input_stride[1]);
      }
      if (!p.resident || load_tile == walker) {
        if (load_chunk == 0) {
          from_weight = begin_channels<T, Tile::kN, Shared::kWeightPitch>(
              p.weight, p.weight_access, p.weight_stride[0], p.channels,
              [&](uint32_t column) { return column_weight[column]; });
        }
        const int slot = p.resident ? load_chunk : load_stage;
        load_channels<T, Shared::kChunk, Tile::kN, Shared::kWeightPitch, Tile::kThreads>(
            &from_weight, base + Shared::kWeights + slot * Shared::kWeightBytes, p.weight_access,
            p.weight_stride[0]);
      }
      if (++load_stage == Tile::kStages) load_stage = 0;
      if (++load_chunk == p.chunks) {
        load_chunk = 0;
        load_tile += p.walkers;
        if (++load_place == Shared::kTilesUnderWay) load_place = 0;
        if (load_tile < p.tiles) describe_rows(load_tile, load_place);
      }
    }
    copies_commit();  // empty groups keep the count right at the end
  };
  describe_rows(walker, 0);
#pragma unroll 1
  for (int i = 0; i < Tile::kStages - 1; ++i) {
    __syncthreads();  // columns and rows are described
    load();
  }

  int stage = 0, place = 0;
  for (int tile = walker; tile < p.tiles; tile += p.walkers) {
    float sums[2][Tile::kWarpN / 8][4] = {};
#pragma unroll 1
    for (int chunk = 0; chunk < p.chunks; ++chunk) {
      copies_wait<Tile::kStages - 2>();
      __syncthreads();  // all copies of this chunk have landed; all have left the stage before it
      load();
      const int slot = p.resident ? chunk : stage;
      multiply<kPrecision, Tile, kChannelsInner>(
          sums, base + Shared::kInput + stage * Shared::kInputBytes + first_row * row_bytes,
          base + Shared::kWeights + slot * Shared::kWeightBytes + first_column * sizeof(T), lane);
      if (++stage == Tile::kStages) stage = 0;
    }
    store_tile<kPrecision, T, Tile>(
        p, sums, reinterpret_cast<T*>(shared + Shared::kStaging + warp * Shared::kStagingBytes),
        rows + place * Tile::kM + first_row,
        {column_output + first_column, column_weight + first_column, column_bias + first_column});
    if (++place == Shared::kTilesUnderWay) place = 0;
  }
  copies_wait<0>();
  if (p.has_border) {
    fill_border<T>(p, int64_t{blockIdx.x} * Tile::kWarps + warp, int64_t{gridDim.x} * Tile::kWarps,
                   lane);
  }
}

}  // namespace convt3d::cuda::shuffle_gemm
