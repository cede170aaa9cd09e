// SPDX-License-Identifier: BSD-3-Clause
// A block packs 32 positions of 32 channels at a time: it reads along whichever is contiguous,
// turns the piece around in shared memory and writes whole lines.
#include "cuda/sm90/tile_pack.h"

#include <algorithm>

#include "cuda/common/launch.h"
#include "cuda/common/mma_sync.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::sm90 {
namespace {

constexpr int kThreads = 256, kColumns = 32;

// Grid: (chunks of all tiles, blocks that share the channels).
template <bool kSplit>
__global__ void __launch_bounds__(kThreads) tile_pack_kernel(const __grid_constant__ TilePack p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  __shared__ int64_t offsets[kChunk];  // of each position; -1 outside
  __shared__ uint4 lines[kSplit ? 2 : 1][kColumns][8];
  let_next_launch_start();
  const int chunks = p.positions / kChunk;
  const int tile = blockIdx.x / chunks, chunk = blockIdx.x - tile * chunks;
  const int thread = threadIdx.x;
  if (thread < kChunk) {
    int place = chunk * kChunk + position_in_line(p.order, thread), rest = tile;
    int64_t offset = 0;
    bool inside = true;
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      const int at = rest % p.tiles[1 + axis] * p.box[1 + axis] + place % p.box[1 + axis];
      rest /= p.tiles[1 + axis];
      place /= p.box[1 + axis];
      inside = inside && at < p.extent[axis];
      offset += at * p.stride[2 + axis];
    }
    const int image = rest * p.box[0] + place;
    inside = inside && place < p.box[0] && image < p.batch;
    offsets[thread] = inside ? offset + image * p.stride[0] : -1;
  }
  __syncthreads();  // the offsets are written
  const int warp = thread / 32, lane = thread % 32;
  // This thread's column and 16-byte piece.
  const int column = p.channels_inner ? lane : warp * 4 + lane / 8;
  const int piece = p.channels_inner ? warp : lane % 8;
  int64_t from[4];
#pragma unroll
  for (int e = 0; e < 4; ++e) from[e] = offsets[4 * piece + e];
  const int columns = p.columns, groups_of_columns = (columns + kColumns - 1) / kColumns;
  const int items = p.groups * p.column_tiles * groups_of_columns;
  const int64_t tile_words = int64_t{columns} * p.positions * (kSplit ? 2 : 1);
  for (int item = blockIdx.y; item < items; item += gridDim.y) {
    const int part = item % groups_of_columns, tile_of_all = item / groups_of_columns;
    const int column_tile = tile_of_all % p.column_tiles, group = tile_of_all / p.column_tiles;
    const int first = part * kColumns;
    const int channel = column_tile * columns + first + column;
    const bool there = channel < p.channels && first + column < columns;
    const float* data =
        p.source + (there ? (int64_t{group} * p.channels + channel) * p.stride[1] : 0);
    uint32_t value[4], high[4], low[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      value[e] = there && from[e] >= 0 ? __float_as_uint(data[from[e]]) : 0;
    }
    split_tf32(value, high, low);
    const int place = piece ^ column % 8;  // in different banks
    lines[0][column][place] = make_uint4(high[0], high[1], high[2], high[3]);
    if (kSplit) lines[kSplit][column][place] = make_uint4(low[0], low[1], low[2], low[3]);
    __syncthreads();  // all threads have written what others store
    const int line = thread / 8;
    if (first + line < columns) {
      uint4* to = reinterpret_cast<uint4*>(p.packed + (int64_t{tile_of_all} * p.all_tiles + tile) *
                                                          tile_words) +
                  (int64_t{chunk} * columns + first) * 8 + thread;
      *to = lines[0][line][thread % 8 ^ line % 8];
      if (kSplit) to[p.positions / 4 * columns] = lines[kSplit][line][thread % 8 ^ line % 8];
    }
    __syncthreads();  // all threads have read them
  }
  wait_for_earlier_launch();
#endif
}

}  // namespace

void pack_tiles(const TilePack& p, int num_sms, cudaStream_t stream) {
  const int64_t chunks = int64_t{p.all_tiles} * (p.positions / kChunk);
  const int64_t items = int64_t{p.groups} * p.column_tiles * ceil_div(p.columns, kColumns);
  // Few chunks: their channels are shared among blocks.
  constexpr int64_t kBlocksPerSm = 8;
  const int64_t shared = std::min(items, ceil_div(kBlocksPerSm * num_sms, chunks));
  const dim3 grid(static_cast<unsigned>(chunks), static_cast<unsigned>(shared));
  const auto kernel = p.split ? tile_pack_kernel<true> : tile_pack_kernel<false>;
  launch_grid("tile_pack_kernel", kernel, {grid, kThreads, 0, stream, p.overlapping}, p);
}

}  // namespace convt3d::cuda::sm90
