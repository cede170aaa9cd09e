// SPDX-License-Identifier: BSD-3-Clause
// Forward and grad_input where kernel = stride, padding = 0: blocks of outputs that do not overlap.
//
//   output[n, co, s * i + t] = bias[co] + sum over ci of  input[n, ci, i] * weight[ci, co, t]
//   grad_input[n, ci, i] = sum over co, t of  grad_output[n, co, s * i + t] * weight[ci, co, t]
//
// One GEMM, forward shuffled as its result is written, grad_input as its operand is read:
//
//         forward                                grad_input
//   M     positions (n, i)                       positions (n, i)
//   N     (co, t); (t, co) for NDHWC results     in_channels
//   K     in_channels                            (co, t); (t, co) where channels are innermost
//   A     input, [K][M]; NDHWC [M][K]            grad_output, [lines][M][group]; NDHWC [M][K]
//   B     weight, [K][N] as it lies              weight, [N][K] as it lies
//
// A group is neighbours in kw, so a line of grad_output, (co, td, th), is copied as it lies, and a
// fragment picks its words of K from it.
//
//              columns of a slice (kN)
//             +-----------+                     A block keeps to one slice and walks over tiles of
//   chunk of  | B         | resident, or        positions, kStages chunks ahead with cp.async.
//   K         +-----------+ kStages slots       Warps tile the block's kM x kN; each adds up its
//   +-------+ +-----+-----+                     part in registers, stages it in the order of the
//   | A     | |warp |warp | kWarpM x kWarpN     result, and stores whole lines, while the copies
//   | kM    | +-----+-----+ sums each           of the next tile are under way.
//   +-------+ |warp |warp |
//
// Where tiles are few, the blocks of a cluster have the same tile and a part of K each
// (add_splits).
//
// supports() guarantees: one group, fewer than 2**30 positions, channels and columns, fewer than
// 2**30 outputs in an image of one channel, a dense result. Any strides and alignment of source and
// weight: launch() finds the widest access that fits, down to single elements.
#pragma once
#include "cuda/common/cluster.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/shuffle_gemm/cluster_sums.cuh"
#include "cuda/shuffle_gemm/multiply.cuh"
#include "cuda/shuffle_gemm/store.cuh"

namespace convt3d::cuda::shuffle_gemm {

// Of the columns of a slice; behind the last one -1, and bias 0.
template <typename T, Direction kDirection>
__device__ __forceinline__ void describe_column(const Params& p, int column, int64_t* result,
                                                int64_t* weight, float* bias) {
  *result = *weight = -1;
  *bias = 0;
  if (column >= p.columns) return;
  if constexpr (kDirection == Direction::grad_input) {
    *result = column * p.result_stride[1];
    *weight = column * p.weight_stride[0];
    return;
  }
  const int taps = p.kernel[0] * p.kernel[1] * p.kernel[2];
  const int channel = p.taps_inner ? column / taps : column % p.out_channels;
  const int tap = p.taps_inner ? column % taps : column / p.out_channels;
  const int w = tap % p.kernel[2], line = tap / p.kernel[2];
  const int h = line % p.kernel[1], d = line / p.kernel[1];
  *result = channel * p.result_stride[1] + d * p.result_stride[2] + h * p.result_stride[3] +
            w * p.result_stride[4];
  *weight = channel * p.weight_stride[1] + d * p.weight_stride[2] + h * p.weight_stride[3] +
            w * p.weight_stride[4];
  if (p.bias) *bias = widen(static_cast<const T*>(p.bias)[channel * p.bias_stride]);
}

// Adds up the sums that a warp and those of its place in the other blocks of the cluster have of
// one part of the tile, in the order of K, in the block of rank warp % splits; returns whether that
// is this one. `parts` is shared memory that nothing else uses, the same in all blocks. All threads
// call it.
template <typename Tile>
__device__ __forceinline__ bool add_splits(float (&sums)[2][Tile::kWarpN / 8][4], uint32_t parts,
                                           int splits, int rank, int warp, int lane) {
  constexpr int kPart = kWarpM * Tile::kWarpN * 4;
  const int owner = warp % splits;
  const uint32_t first = parts + warp / splits * splits * kPart + lane * 16;
  wait_for_starts();
#pragma unroll
  for (int i = 0; i < Tile::kWarpN / 4; ++i) {
    const float(&sum)[4] = sums[i % 2][i / 2];
    store_in_block(first + rank * kPart + i * 512, owner, sum);
  }
  cluster_barrier();  // all parts are there
  if (owner != rank) return false;
#pragma unroll 1
  for (int from = 0; from < splits; ++from) {
#pragma unroll
    for (int i = 0; i < Tile::kWarpN / 4; ++i) {
      const float4 other = load_four_floats(first + from * kPart + i * 512);
      float(&sum)[4] = sums[i % 2][i / 2];
      sum[0] = from == 0 ? other.x : sum[0] + other.x;
      sum[1] = from == 0 ? other.y : sum[1] + other.y;
      sum[2] = from == 0 ? other.z : sum[2] + other.z;
      sum[3] = from == 0 ? other.w : sum[3] + other.w;
    }
  }
  return true;
}

// kChannelsInner: of the source.
template <Precision kPrecision, typename Tile, Direction kDirection, bool kChannelsInner>
__global__ void __launch_bounds__(Tile::kThreads, blocks_per_sm<Tile>(kPrecision))
    shuffle_kernel(const __grid_constant__ Params p) {
  using T = ElementOf<kPrecision>;
  using Shared = SharedMemory<Tile, sizeof(T), kDirection>;
  constexpr bool kForward = kDirection == Direction::forward;
  constexpr bool kLines = !kForward && !kChannelsInner;
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int splits = Shared::kCanSplit ? p.splits : 1;
  const int block = static_cast<int>(blockIdx.x) / splits;
  const int rank = static_cast<int>(blockIdx.x) % splits;
  const int slice = block % p.slices, walker = block / p.slices;
  if (Shared::kCanSplit && splits > 1) announce_start();
  // This block's part of K.
  const int share = (p.chunks + splits - 1) / splits;
  const int first_chunk = min(rank * share, p.chunks);
  const int end_chunk = min(first_chunk + share, p.chunks);

  auto* const column_result = reinterpret_cast<int64_t*>(shared + Shared::kColumnResult);
  auto* const column_weight = reinterpret_cast<int64_t*>(shared + Shared::kColumnWeight);
  auto* const column_bias = reinterpret_cast<float*>(shared + Shared::kColumnBias);
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kN; i += Tile::kThreads) {
    describe_column<T, kDirection>(p, slice * Tile::kN + i, &column_result[i], &column_weight[i],
                                   &column_bias[i]);
  }
  // Rows of the tiles under way, in a ring. They are described a barrier before they are read.
  auto* const rows = reinterpret_cast<Row*>(shared + Shared::kRows);
  const auto describe_rows = [&](int tile, int place) {
    const int row = static_cast<int>(threadIdx.x);
    if (row < Tile::kM) rows[place * Tile::kM + row] = describe_row(p, tile * Tile::kM + row);
  };
  // Lines of the chunk that is loaded and of the next one, described likewise.
  auto* const lines = reinterpret_cast<int64_t*>(shared + Shared::kLines);
  int line_slot = 0;
  const auto describe_lines = [&](int chunk, int slot) {
    const int count = Tile::kChunkBytes >> p.group_log, i = static_cast<int>(threadIdx.x);
    const int line = chunk * count + i;
    if (i >= count) return;
    const int k = line << (p.group_log - (sizeof(T) == 4 ? 2 : 1));
    lines[slot * Shared::kChunk + i] = line < p.lines ? p.depth_source.offset(k) : -1;
  };

  const int first_row = warp / Tile::kWarpsN * kWarpM;
  const int first_column = warp % Tile::kWarpsN * Tile::kWarpN;
  const uint32_t base = shared_address(shared);
  const int group_bytes = kLines ? 1 << p.group_log : static_cast<int>(sizeof(T));
  const uint32_t row_bytes = kChannelsInner ? Shared::kDepthPitch : group_bytes;
  const uint32_t column_bytes = kForward ? sizeof(T) : Shared::kDepthPitch;

  // The chunk that is loaded next.
  int load_tile = first_chunk < end_chunk ? walker : p.tiles;
  int load_chunk = first_chunk, load_stage = 0, load_place = 0;
  ChannelCursor<T> from_source, from_weight;
  const auto load_source = [&](uint32_t target) {
    const Row* const tile_rows = rows + load_place * Tile::kM;
    if constexpr (kChannelsInner) {
      load_rows<T, Tile, Tile::kM>(
          target, {p.source, p.source_access, load_chunk * Shared::kChunk, p.depth},
          [&](int k) { return kForward ? k * p.source_stride[1] : p.depth_source.offset(k); },
          [&](int row) { return tile_rows[row].source; });
    } else if constexpr (kForward) {
      if (load_chunk == first_chunk) {
        from_source = begin_channels<T, Tile::kM, Shared::kPositionsPitch>(
            p.source, p.source_access, p.source_stride[1], load_chunk * Shared::kChunk, p.depth,
            [&](uint32_t column) { return tile_rows[column].source; });
      }
      load_channels<T, Shared::kChunk, Tile::kM, Shared::kPositionsPitch, Tile::kThreads>(
          &from_source, target, p.source_access, p.source_stride[1]);
    } else {
      load_lines<T, Tile>(p, target, lines + line_slot * Shared::kChunk, tile_rows);
      line_slot ^= 1;
      describe_lines(load_chunk + 1 == end_chunk ? first_chunk : load_chunk + 1, line_slot);
    }
  };
  const auto load_weight = [&](uint32_t target) {
    if constexpr (kForward) {
      if (load_chunk == first_chunk) {
        from_weight = begin_channels<T, Tile::kN, Shared::kWeightPitch>(
            p.weight, p.weight_access, p.weight_stride[0], load_chunk * Shared::kChunk, p.depth,
            [&](uint32_t column) { return column_weight[column]; });
      }
      load_channels<T, Shared::kChunk, Tile::kN, Shared::kWeightPitch, Tile::kThreads>(
          &from_weight, target, p.weight_access, p.weight_stride[0]);
    } else {
      load_rows<T, Tile, Tile::kN>(
          target, {p.weight, p.weight_access, load_chunk * Shared::kChunk, p.depth},
          [&](int k) { return p.depth_weight.offset(k); },
          [&](int row) { return column_weight[row]; });
    }
  };
  const auto load = [&] {
    if (load_tile < p.tiles) {
      load_source(base + Shared::kSource + load_stage * Shared::kSourceBytes);
      if (!p.resident || load_tile == walker) {
        const int slot = p.resident ? load_chunk : load_stage;
        load_weight(base + Shared::kWeights + slot * Shared::kWeightBytes);
      }
      if (++load_stage == Tile::kStages) load_stage = 0;
      if (++load_chunk == end_chunk) {
        load_chunk = first_chunk;
        load_tile += p.walkers;
        if (++load_place == Shared::kTilesUnderWay) load_place = 0;
        if (load_tile < p.tiles) describe_rows(load_tile, load_place);
      }
    }
    copies_commit();  // empty groups keep the count right at the end
  };
  describe_rows(walker, 0);
  if constexpr (kLines) describe_lines(first_chunk, 0);
#pragma unroll 1
  for (int i = 0; i < Tile::kStages - 1; ++i) {
    __syncthreads();  // columns, rows and lines are described
    load();
  }

  int stage = 0, place = 0;
  for (int tile = walker; tile < p.tiles; tile += p.walkers) {
    float sums[2][Tile::kWarpN / 8][4] = {};
#pragma unroll 1
    for (int chunk = first_chunk; chunk < end_chunk; ++chunk) {
      copies_wait<Tile::kStages - 2>();
      __syncthreads();  // all copies of this chunk have landed; all have left the stage before it
      load();
      const int slot = p.resident ? chunk : stage;
      const uint32_t a =
          base + Shared::kSource + stage * Shared::kSourceBytes + first_row * row_bytes;
      const uint32_t b =
          base + Shared::kWeights + slot * Shared::kWeightBytes + first_column * column_bytes;
      constexpr Order kOrder = kChannelsInner ? Order::by_position
                               : kLines       ? Order::by_word
                                              : Order::by_depth;
      if (kLines && sizeof(T) == 2 && group_bytes == sizeof(T)) {
        multiply<kPrecision, Tile, kDirection, Order::by_depth>(sums, a, b, group_bytes, lane);
      } else {
        multiply<kPrecision, Tile, kDirection, kOrder>(sums, a, b, group_bytes, lane);
      }
      if (++stage == Tile::kStages) stage = 0;
    }
    if constexpr (Shared::kCanSplit) {
      if (splits > 1) {
        const uint32_t parts = base + static_cast<uint32_t>(Shared::total(Tile::kStages));
        if (!add_splits<Tile>(sums, parts, splits, rank, warp, lane)) continue;
      }
    }
    store_tile<kPrecision, T, Tile, kDirection>(
        p, sums, reinterpret_cast<T*>(shared + Shared::kStaging + warp * Shared::kStagingBytes),
        rows + place * Tile::kM + first_row,
        {column_result + first_column, column_weight + first_column, column_bias + first_column});
    if (++place == Shared::kTilesUnderWay) place = 0;
  }
  copies_wait<0>();
  if (kForward && p.has_border) {
    fill_border<T>(p, int64_t{blockIdx.x} * Tile::kWarps + warp, int64_t{gridDim.x} * Tile::kWarps,
                   lane);
  }
}

}  // namespace convt3d::cuda::shuffle_gemm
