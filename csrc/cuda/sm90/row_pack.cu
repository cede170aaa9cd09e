// SPDX-License-Identifier: BSD-3-Clause
// A block turns a tile of positions x 128 bytes of channels around in shared memory. Bandwidth is
// all that it needs, so what counts is bytes on their way: where positions are contiguous (dense
// NCDHW) a thread reads 16 bytes of them four times before it waits.
#include "cuda/sm90/row_pack.h"

#include <algorithm>

#include "cuda/common/alignment.h"
#include "cuda/common/divisor.cuh"
#include "cuda/common/launch.h"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/row_copy.h"
#include "cuda/sm90/row_copy_limits.h"

namespace convt3d::cuda::sm90 {
namespace {

struct Params {
  const void* source;
  uint4* rows;
  int64_t stride[5];
  int64_t volume, positions;  // of a batch item, of all
  unsigned tiles;             // dense: of a batch item
  int extent[3];
  int channels, pieces;  // pieces of 16 bytes of a position
  unsigned parts;        // of a position, kPieces each; those of a tile run together
  int64_t row_pitch;     // 0 where positions have no common one
  int64_t batch;
  int items;    // of a tile of several
  Divisor run;  // pieces of 16 bytes of the channels of such an item
};

constexpr int kThreads = 256, kPositions = 128;
constexpr int kPieces = 8;  // of a position in a tile: 128 bytes
// Rows further apart than that many times their length are read one by one: a span would be mostly
// what lies between them.
constexpr int64_t kMaxSpan = 2;

// Any strides: a lane reads the 16 bytes of a piece element by element.
template <typename T>
__global__ void __launch_bounds__(kThreads) strided_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  let_next_launch_start();
  constexpr int kVector = 16 / sizeof(T), kAtOnce = kThreads / kPositions;
  // One piece more than is used: eight lanes' pieces lie in different banks.
  __shared__ uint4 tile[kPositions][kPieces + 1];
  const int64_t first = blockIdx.x / p.parts * int64_t{kPositions};
  const int first_piece = static_cast<int>(blockIdx.x % p.parts) * kPieces;
  const int pieces = min(kPieces, p.pieces - first_piece);
  const int here = static_cast<int>(min(p.positions - first, int64_t{kPositions}));
  const int lane = threadIdx.x % kPositions;
  if (lane < here) {
    const T* source = static_cast<const T*>(p.source);
    int64_t rest = first + lane;
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      const int64_t next = rest / p.extent[a];
      source += (rest - next * p.extent[a]) * p.stride[2 + a];
      rest = next;
    }
    source += rest * p.stride[0];
#pragma unroll
    for (int i = 0; i < kPieces / kAtOnce; ++i) {
      const int piece = i * kAtOnce + threadIdx.x / kPositions;
      const int channel = (first_piece + piece) * kVector;
      alignas(16) T value[kVector];
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        value[v] = channel + v < p.channels ? source[(channel + v) * p.stride[1]] : T();
      }
      tile[lane][piece] = *reinterpret_cast<const uint4*>(value);
    }
  }
  __syncthreads();  // all threads have written what others store
  for (int i = threadIdx.x; i < here * pieces; i += kThreads) {
    const int position = i / pieces, piece = i - position * pieces;
    p.rows[(first + position) * p.pieces + first_piece + piece] = tile[position][piece];
  }
  wait_for_earlier_launch();
#endif
}

// Positions contiguous, channels and batch items on 16 bytes:
//
//   tile[channel][16 bytes of positions, moved so that no two that are used at once share a bank]
//
// In 16 bits ldmatrix turns 8 x 8 elements around. A lane gets channels 2 (lane % 4) + {0, 1} of
// each of four matrices; so that they are 8 neighbours, row r of matrix m is channel
// 8 (r / 2) + 2 m + r % 2 of 32.
template <typename T>
__global__ void __launch_bounds__(kThreads) dense_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  let_next_launch_start();
  constexpr int kVector = 16 / sizeof(T), kChannels = kPieces * kVector;
  constexpr int kColumns = kPositions / kVector;  // of 16 bytes
  constexpr int kLoads = kChannels * kColumns / kThreads;
  __shared__ uint4 tile[kChannels * kColumns];
  const auto place = [](int channel, int column) {
    const int moved = sizeof(T) == 2 ? channel % 2 + channel / 8 % 4 * 2 : channel / 4 % 8;
    return channel * kColumns + (column ^ moved);
  };
  const unsigned block = blockIdx.x / p.parts;
  const int part = static_cast<int>(blockIdx.x % p.parts);
  const int64_t n = block / p.tiles;
  const int64_t first = (block % p.tiles) * int64_t{kPositions};
  const int first_channel = part * kChannels;
  const T* const source =
      static_cast<const T*>(p.source) + n * p.stride[0] + first_channel * p.stride[1] + first;
  uint4 loaded[kLoads];
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const int at = i * kThreads + threadIdx.x, channel = at / kColumns, column = at % kColumns;
    const bool there = first_channel + channel < p.channels && first + column * kVector < p.volume;
    loaded[i] =
        there ? *reinterpret_cast<const uint4*>(source + channel * p.stride[1] + column * kVector)
              : uint4{};
  }
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const int at = i * kThreads + threadIdx.x;
    tile[place(at / kColumns, at % kColumns)] = loaded[i];
  }
  __syncthreads();  // all threads have written what others read
  uint4* const rows = p.rows + (n * p.volume + first) * p.pieces + part * kPieces;
  const auto store = [&](int position, int piece, const uint32_t(&value)[4]) {
    if (first + position < p.volume && part * kPieces + piece < p.pieces) {
      rows[int64_t{position} * p.pieces + piece] =
          make_uint4(value[0], value[1], value[2], value[3]);
    }
  };
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if constexpr (sizeof(T) == 2) {
    const uint32_t base = shared_address(tile);
    const int channel = lane % 8 / 2 * 8 + lane / 8 * 2 + lane % 2;
#pragma unroll
    for (int i = 0; i < 2 * kColumns / (kThreads / 32); ++i) {
      const int column = warp * 2 + i / 2, half = i % 2;
      uint32_t value[4];
      load_matrices_transposed(value, base + place(32 * half + channel, column) * 16);
      store(column * 8 + lane / 4, 4 * half + lane % 4, value);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kPositions * kPieces / kThreads; ++i) {
      const int at = i * kThreads + threadIdx.x, piece = at % kPieces, position = at / kPieces;
      uint32_t value[4];
#pragma unroll
      for (int v = 0; v < 4; ++v) {
        value[v] = reinterpret_cast<const uint32_t*>(
            tile)[place(4 * piece + v, position / 4) * 4 + position % 4];
      }
      store(position, piece, value);
    }
  }
  wait_for_earlier_launch();
#endif
}

// Positions contiguous, but channels on any bytes: their pieces of 16 are loaded as they lie, one
// more for each, and each channel's positions start at a shift of its own.
template <typename T>
__global__ void __launch_bounds__(kThreads) shifted_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kVector = 16 / sizeof(T), kChannels = kPieces * kVector;
  constexpr int kColumns = kPositions / kVector + 1, kAll = kChannels * kColumns;
  constexpr int kLoads = (kAll + kThreads - 1) / kThreads;
  let_next_launch_start();
  constexpr int kPitch = kColumns * 4 + 1;  // in words; odd, so that channels lie in other banks
  __shared__ uint32_t tile[kChannels * kPitch];
  const unsigned block = blockIdx.x / p.parts;
  const int part = static_cast<int>(blockIdx.x % p.parts);
  const int64_t n = block / p.tiles;
  const int64_t first = (block % p.tiles) * int64_t{kPositions};
  const int here = static_cast<int>(min(p.volume - first, int64_t{kPositions}));
  const int channels = min(kChannels, p.channels - part * kChannels);
  const T* const source = static_cast<const T*>(p.source) + n * p.stride[0] +
                          int64_t{part} * kChannels * p.stride[1] + first;
  uint4 loaded[kLoads];
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const int at = i * kThreads + threadIdx.x, channel = at / kColumns, column = at % kColumns;
    const auto start = reinterpret_cast<uintptr_t>(source + channel * p.stride[1]);
    const uintptr_t piece = start / 16 * 16 + 16 * column;
    const bool there = channel < channels && piece < start + here * sizeof(T);
    loaded[i] = there ? *reinterpret_cast<const uint4*>(piece) : uint4{};
  }
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const int at = i * kThreads + threadIdx.x;
    if (at >= kAll) break;
    uint32_t* const to = tile + at / kColumns * kPitch + at % kColumns * 4;
    to[0] = loaded[i].x;
    to[1] = loaded[i].y;
    to[2] = loaded[i].z;
    to[3] = loaded[i].w;
  }
  __syncthreads();  // all threads have written what others read
  uint4* const rows = p.rows + (n * p.volume + first) * p.pieces + part * kPieces;
  const int piece = threadIdx.x % kPieces;
  if (part * kPieces + piece >= p.pieces) return;
  const T* channel_at[kVector];
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    const int channel = piece * kVector + v;
    const auto start = reinterpret_cast<uintptr_t>(source + channel * p.stride[1]);
    channel_at[v] = reinterpret_cast<const T*>(tile + channel * kPitch) + start % 16 / sizeof(T);
  }
#pragma unroll
  for (int i = 0; i < kPositions * kPieces / kThreads; ++i) {
    const int position = (i * kThreads + threadIdx.x) / kPieces;
    if (position >= here) break;
    alignas(16) T value[kVector];
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      value[v] = piece * kVector + v < channels ? channel_at[v][position] : T();
    }
    rows[int64_t{position} * p.pieces + piece] = *reinterpret_cast<const uint4*>(value);
  }
  wait_for_earlier_launch();
#endif
}

// Few positions, and the channels of a batch item contiguous with them (the taps of a weight in
// NCDHW), of four bytes: a tile is several items. The channels of each are a run of bytes, loaded
// as it lies; a word is skipped behind each 32, so that channels of even extents lie in other
// banks.
constexpr int kShortPositions = 64;

__global__ void __launch_bounds__(kThreads) short_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  let_next_launch_start();
  constexpr int kVector = 4, kChannels = kPieces * kVector;
  // One piece more for each item.
  constexpr int kAll = kShortPositions * kPieces + kShortPositions / 2;
  constexpr int kLoads = (kAll + kThreads - 1) / kThreads;
  __shared__ uint32_t tile[kAll * 4 / 32 * 33];
  const auto place = [](int word) { return word + word / 32; };
  const int volume = static_cast<int>(p.volume);
  const int part = static_cast<int>(blockIdx.x % p.parts);
  const int64_t first = blockIdx.x / p.parts * int64_t{p.items};
  const int items = static_cast<int>(min(p.batch - first, int64_t{p.items}));
  const int channels = min(kChannels, p.channels - part * kChannels);
  const auto start_of = [&](int item) {
    return reinterpret_cast<uintptr_t>(static_cast<const uint32_t*>(p.source) +
                                       (first + item) * p.stride[0] + part * kChannels * p.volume);
  };
  uint4 loaded[kLoads];
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    int item = i * kThreads + threadIdx.x;
    const int piece = divide(&item, p.run);
    const uintptr_t start = start_of(item), at = start / 16 * 16 + 16 * piece;
    const bool there = item < items && at < start + 4 * channels * volume;
    loaded[i] = there ? *reinterpret_cast<const uint4*>(at) : uint4{};
  }
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const int word = 4 * (i * kThreads + threadIdx.x);
    if (word >= items * 4 * static_cast<int>(p.run.value)) break;
    tile[place(word)] = loaded[i].x;
    tile[place(word + 1)] = loaded[i].y;
    tile[place(word + 2)] = loaded[i].z;
    tile[place(word + 3)] = loaded[i].w;
  }
  __syncthreads();  // all threads have written what others read
  uint4* const rows = p.rows + first * volume * p.pieces + part * kPieces;
  const int piece = threadIdx.x % kPieces;
  if (part * kPieces + piece >= p.pieces) return;
#pragma unroll
  for (int i = 0; i < kShortPositions * kPieces / kThreads; ++i) {
    const int position = (i * kThreads + threadIdx.x) / kPieces;
    if (position >= items * volume) break;
    const int item = position / volume;
    const int run = item * 4 * static_cast<int>(p.run.value) +
                    static_cast<int>(start_of(item) % 16 / 4) + position - item * volume;
    uint32_t value[kVector];
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const int channel = piece * kVector + v;
      value[v] = channel < channels ? tile[place(run + channel * volume)] : 0;
    }
    rows[int64_t{position} * p.pieces + piece] = make_uint4(value[0], value[1], value[2], value[3]);
  }
  wait_for_earlier_launch();
#endif
}

// Channels contiguous: a thread has one piece, and neighbours read neighbours.
template <typename T>
__global__ void __launch_bounds__(kThreads) rows_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kVector = 16 / sizeof(T);
  let_next_launch_start();
  const int64_t at = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (at >= p.positions * p.pieces) return;
  int64_t rest = at / p.pieces;
  const int channel = static_cast<int>(at - rest * p.pieces) * kVector;
  const T* source = static_cast<const T*>(p.source) + channel;
  if (p.row_pitch != 0) {
    source += rest * p.row_pitch;
  } else {
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      const int64_t next = rest / p.extent[a];
      source += (rest - next * p.extent[a]) * p.stride[2 + a];
      rest = next;
    }
    source += rest * p.stride[0];
  }
  alignas(16) T value[kVector];
#pragma unroll
  for (int v = 0; v < kVector; ++v) value[v] = channel + v < p.channels ? source[v] : T();
  p.rows[at] = *reinterpret_cast<const uint4*>(value);
  wait_for_earlier_launch();
#endif
}

// Elements from one position to the next, the same for all of them; else 0.
int64_t row_pitch(const RowPack& pack) {
  const int64_t extent[4] = {pack.batch, pack.extent[0], pack.extent[1], pack.extent[2]};
  const int64_t stride[4] = {pack.stride[0], pack.stride[2], pack.stride[3], pack.stride[4]};
  int64_t pitch = 0, positions = 1;
  for (int i = 3; i >= 0; --i) {
    if (extent[i] == 1) continue;
    if (pitch == 0) pitch = stride[i];
    if (stride[i] != pitch * positions) return 0;
    positions *= extent[i];
  }
  return pitch;
}

// Whether the positions of a batch item are contiguous.
bool is_dense(const RowPack& pack) {
  int64_t stride = 1;
  for (int a = 2; a >= 0; --a) {
    if (pack.extent[a] > 1 && pack.stride[2 + a] != stride) return false;
    stride *= pack.extent[a];
  }
  return true;
}

// Whether all channels of such start on 16 bytes.
bool channels_aligned(const RowPack& pack) {
  const auto on_16_bytes = [&](int64_t elements) {
    return elements * pack.element_bytes % 16 == 0;
  };
  return on_16_bytes(volume(pack.extent)) && (pack.channels == 1 || on_16_bytes(pack.stride[1])) &&
         (pack.batch == 1 || on_16_bytes(pack.stride[0])) && is_aligned(pack.source);
}

// Rows that follow one another with little between them.
bool are_a_span(const RowPack& pack, const Params& p) {
  const int64_t pitch = p.row_pitch;
  return pack.stride[1] == 1 && pitch >= pack.channels && pitch <= kMaxSpan * pack.channels &&
         can_copy_rows(pitch, row_channels(pack.channels, pack.element_bytes), pack.element_bytes);
}

template <typename T>
void launch(const RowPack& pack, const Params& p, cudaStream_t stream) {
  const bool dense = is_dense(pack), aligned = dense && channels_aligned(pack);
  const bool tiled = aligned || (dense && volume(pack.extent) > 1);
  const bool rows = !tiled && pack.stride[1] == 1;
  if (rows && are_a_span(pack, p)) {
    return copy_rows({pack.source, pack.rows, p.positions, p.row_pitch,
                      row_channels(pack.channels, pack.element_bytes), pack.channels,
                      pack.element_bytes, true, pack.overlapping},
                     stream);
  }
  const bool several = p.items > 0;
  const auto kernel = several   ? short_kernel
                      : aligned ? dense_kernel<T>
                      : tiled   ? shifted_kernel<T>
                      : rows    ? rows_kernel<T>
                                : strided_kernel<T>;
  const int64_t blocks = several ? ceil_div(pack.batch, p.items)
                         : tiled ? pack.batch * p.tiles
                         : rows  ? ceil_div(p.positions * p.pieces, kThreads)
                                 : ceil_div(p.positions, kPositions);
  const dim3 grid(static_cast<unsigned>(blocks) * (rows ? 1 : p.parts));
  launch_grid("packing rows of channels", kernel, {grid, kThreads, 0, stream, pack.overlapping}, p);
}

}  // namespace

void pack_rows(const RowPack& pack, cudaStream_t stream) {
  Params p{};
  p.source = pack.source;
  p.rows = static_cast<uint4*>(pack.rows);
  std::copy(pack.stride.begin(), pack.stride.end(), p.stride);
  std::copy(pack.extent.begin(), pack.extent.end(), p.extent);
  p.volume = volume(pack.extent);
  p.positions = pack.batch * p.volume;
  p.tiles = static_cast<unsigned>(ceil_div(p.volume, kPositions));
  p.channels = static_cast<int>(pack.channels);
  p.pieces =
      static_cast<int>(row_channels(pack.channels, pack.element_bytes) * pack.element_bytes / 16);
  p.parts = static_cast<unsigned>(ceil_div(p.pieces, kPieces));
  p.row_pitch = row_pitch(pack);
  p.batch = pack.batch;
  if (is_dense(pack) && pack.element_bytes == 4 && p.volume > 1 && p.volume <= kShortPositions &&
      pack.batch > 1 && pack.stride[1] == p.volume) {
    p.items = static_cast<int>(kShortPositions / p.volume);
    p.run = make_divisor(kPieces * p.volume + 1);
  }
  // As bits: zero is zero in every type.
  if (pack.element_bytes == 2) {
    launch<uint16_t>(pack, p, stream);
  } else {
    launch<uint32_t>(pack, p, stream);
  }
}

}  // namespace convt3d::cuda::sm90
