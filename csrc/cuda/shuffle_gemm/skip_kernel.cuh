// SPDX-License-Identifier: BSD-3-Clause
// grad_input of pointwise layers with a stride in NCDHW:
//
//   grad_input[n, ci, i] = sum over co of  weight[ci, co] * grad_output[n, co, s * i]
//
//   M = ci, 64 at a time; N = 64 positions that follow each other in grad_input; K = co
//
// Lines of grad_output start anywhere and lie apart, and every s-th element counts: a lane loads
// those of two positions one by one, of eight channels, while the tile before is multiplied and
// stored, and puts them into shared memory as wgmma wants them (swizzled rows of 128 bytes):
//
//   16 bits   [co][position]: K down the rows. Positions l and l + 32 are neighbours there, so a
//             lane stores words, and a thread's sums are eight positions in a row
//   TF32      [position][co], 32 of them
//
// The weight is in shared memory for good. Memory is the limit, so that all that counts is how many
// loads are under way: blocks are small, and several on an SM.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/shuffle_gemm/params.h"
#include "cuda/shuffle_gemm/skip_config.h"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::shuffle_gemm {

struct SkipParams {
  const void* source;  // grad_output
  const void* weight;
  void* result;
  int64_t source_batch, source_channel;  // elements, as all that follow
  int source_position[3];
  int64_t weight_in, weight_out;
  int in_channels, out_channels, volume, chunks;  // of kSkipDepth out_channels
  Divider image_tiles, plane, line;
  int tiles;
  bool whole;  // 16 (TF32: 8) bytes of the result can be stored at once
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <typename T>
struct SkipTile {
  static constexpr int kElement = static_cast<int>(sizeof(T));
  static constexpr bool kNarrow = kElement == 2;
  using Bits = std::conditional_t<kNarrow, unsigned short, uint32_t>;
  static constexpr int kLoads = kSkipDepth / 4;  // channels of a warp
  // Of kSkipDepth channels of 64 positions, or in_channels.
  static constexpr int kChunkBytes = kSkipDepth * 64 * kElement;
  static constexpr int kSteps = kSkipDepth * kElement / 32;
  using Wgmma = sm90::WgmmaShared<T, kSkipPositions, kNarrow ? sm90::Major::mn : sm90::Major::k>;

  // Of element `inner` of 64 and `channel` of kSkipDepth in a chunk.
  static __device__ __forceinline__ uint32_t place(int inner, int channel) {
    if constexpr (kNarrow) {
      return channel * 128 + (inner / 8 ^ channel % 8) * 16 + inner % 8 * 2;
    } else {
      return inner * 128 + (channel / 4 ^ inner % 8) * 16 + channel % 4 * 4;
    }
  }
  static __device__ __forceinline__ uint64_t descriptor(uint32_t chunk, int step) {
    if constexpr (kNarrow) {
      return sm90::descriptor(sm90::mn_descriptor_low(chunk + step * 16 * 128, 0),
                              sm90::mn_descriptor_high(128));
    } else {
      return sm90::swizzled_descriptor(chunk + step * 32);
    }
  }
};

template <typename T>
__device__ __forceinline__ void fill_weight(const SkipParams& p, uint32_t memory) {
  using Tile = SkipTile<T>;
  using Bits = typename Tile::Bits;
  const int columns = (p.in_channels + kSkipColumns - 1) / kSkipColumns * kSkipColumns;
  constexpr int kAtOnce = 16, kRows = kSkipThreads / kSkipDepth;  // loads under way; in_channels
  const int of_chunk = static_cast<int>(threadIdx.x) % kSkipDepth;
#pragma unroll 1
  for (int chunk = 0; chunk < p.chunks; ++chunk) {
    const int out = chunk * kSkipDepth + of_chunk;
#pragma unroll 1
    for (int first = static_cast<int>(threadIdx.x) / kSkipDepth; first < columns;
         first += kAtOnce * kRows) {
      Bits value[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int in = first + i * kRows;
        const bool there = in < p.in_channels && out < p.out_channels;
        value[i] =
            there
                ? __ldg(static_cast<const Bits*>(p.weight) + in * p.weight_in + out * p.weight_out)
                : Bits{0};
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int in = first + i * kRows;
        const uint32_t to = memory + (in / kSkipColumns * p.chunks + chunk) * Tile::kChunkBytes +
                            Tile::place(in % kSkipColumns, of_chunk);
        if constexpr (Tile::kNarrow) {
          asm volatile("st.shared.b16 [%0], %1;" ::"r"(to), "h"(value[i]) : "memory");
        } else {
          asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(round_to_tf32(value[i]))
                       : "memory");
        }
      }
    }
  }
}

// A lane's elements of a chunk: of the warp's channels, positions `lane` and `lane` + 32 of a tile.
template <typename T>
struct SkipWords {
  using Tile = SkipTile<T>;
  using Bits = typename Tile::Bits;
  const Bits* from[2];  // of the tile's two positions, and the warp's first channel; or null
  Bits word[Tile::kLoads][2];

  __device__ __forceinline__ void start(const SkipParams& p, int tile) {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int n = static_cast<int>(p.image_tiles.divide(tile));
    const int first = (tile - n * static_cast<int>(p.image_tiles.divisor)) * kSkipPositions;
    const Bits* const image = static_cast<const Bits*>(p.source) + n * p.source_batch +
                              warp * Tile::kLoads * p.source_channel;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = first + lane + 32 * half;
      const int d = static_cast<int>(p.plane.divide(at));
      const int of_plane = at - d * static_cast<int>(p.plane.divisor);
      const int h = static_cast<int>(p.line.divide(of_plane));
      const int w = of_plane - h * static_cast<int>(p.line.divisor);
      from[half] = at < p.volume ? image + (d * p.source_position[0] + h * p.source_position[1] +
                                            w * p.source_position[2])
                                 : nullptr;
    }
  }
  __device__ __forceinline__ void load(const SkipParams& p, int chunk) {
    const int first = chunk * kSkipDepth + static_cast<int>(threadIdx.x) / 32 * Tile::kLoads;
#pragma unroll
    for (int i = 0; i < Tile::kLoads; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const bool there = from[half] != nullptr && first + i < p.out_channels;
        word[i][half] =
            there ? __ldg(from[half] + (int64_t{chunk} * kSkipDepth + i) * p.source_channel)
                  : Bits{0};
      }
    }
  }
  __device__ __forceinline__ void store(uint32_t chunk) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    if constexpr (Tile::kNarrow) {
      const uint32_t to = chunk + warp * Tile::kLoads * 128 + lane / 8 * 4;
#pragma unroll
      for (int i = 0; i < Tile::kLoads; ++i) {
        asm volatile("st.shared.b32 [%0], %1;" ::"r"(to + i * 128 + (lane % 8 ^ i) * 16),
                     "r"(uint32_t{word[i][0]} | uint32_t{word[i][1]} << 16)
                     : "memory");
      }
    } else {
#pragma unroll
      for (int i = 0; i < Tile::kLoads; i += 4) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          store_shared(chunk + Tile::place(lane + 32 * half, warp * Tile::kLoads + i),
                       uint4{round_to_tf32(word[i][half]), round_to_tf32(word[i + 1][half]),
                             round_to_tf32(word[i + 2][half]), round_to_tf32(word[i + 3][half])});
        }
      }
    }
  }
};

// A thread's sums of two in_channels.
template <typename T>
__device__ __forceinline__ void store_positions(const SkipParams& p, int tile, int first_channel,
                                                const float (&sum)[kSkipPositions / 2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, quad = lane % 4;
  const int n = static_cast<int>(p.image_tiles.divide(tile));
  const int first = (tile - n * static_cast<int>(p.image_tiles.divisor)) * kSkipPositions;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int channel =
        first_channel + static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4 + 8 * half;
    if (channel >= p.in_channels) continue;
    T* const line =
        static_cast<T*>(p.result) + (int64_t{n} * p.in_channels + channel) * p.volume + first;
    if constexpr (sizeof(T) == 2) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int at = 32 * e + 8 * quad;
        alignas(16) T value[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) value[j] = narrow<T>(sum[4 * j + 2 * half + e]);
        if (p.whole) {
          if (first + at < p.volume) {
            *reinterpret_cast<uint4*>(line + at) = *reinterpret_cast<const uint4*>(value);
          }
        } else {
#pragma unroll
          for (int j = 0; j < 8; ++j) {
            if (first + at + j < p.volume) line[at + j] = value[j];
          }
        }
      }
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const int at = 8 * j + 2 * quad;
        const float x = sum[4 * j + 2 * half], y = sum[4 * j + 2 * half + 1];
        if (p.whole) {
          if (first + at < p.volume) *reinterpret_cast<float2*>(line + at) = make_float2(x, y);
        } else {
          if (first + at < p.volume) line[at] = x;
          if (first + at + 1 < p.volume) line[at + 1] = y;
        }
      }
    }
  }
}

#endif

template <Precision kPrecision>
__global__ void __launch_bounds__(kSkipThreads, kSkipBlocks)
    skip_kernel(const __grid_constant__ SkipParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using T = ElementOf<kPrecision>;
  using Tile = SkipTile<T>;
  extern __shared__ __align__(1024) unsigned char skip_memory[];
  const uint32_t weight = shared_address(skip_memory);
  const int column_tiles = (p.in_channels + kSkipColumns - 1) / kSkipColumns;
  const uint32_t tiles = weight + column_tiles * p.chunks * Tile::kChunkBytes;
  int tile = static_cast<int>(blockIdx.x);
  SkipWords<T> words;
  words.start(p, tile);
  words.load(p, 0);
  fill_weight<T>(p, weight);
  // Two tiles take turns: one barrier a tile, behind which nobody reads the tile before.
  uint32_t own = tiles, other = tiles + p.chunks * Tile::kChunkBytes;
#pragma unroll 1
  while (tile < p.tiles) {
    const int next = tile + static_cast<int>(gridDim.x);
#pragma unroll 1
    for (int chunk = 0; chunk < p.chunks; ++chunk) {
      words.store(own + chunk * Tile::kChunkBytes);
      if (chunk + 1 < p.chunks) {
        words.load(p, chunk + 1);
      } else if (next < p.tiles) {
        words.start(p, next);
        words.load(p, 0);
      }
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // elements -> wgmma
    __syncthreads();                                              // the tile is there
#pragma unroll 1
    for (int columns = 0; columns < column_tiles; ++columns) {
      float sum[kSkipPositions / 2] = {};
      sm90::wgmma_fence();
#pragma unroll 1
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        const uint32_t a = weight + (columns * p.chunks + chunk) * Tile::kChunkBytes;
        const uint32_t b = own + chunk * Tile::kChunkBytes;
#pragma unroll
        for (int step = 0; step < Tile::kSteps; ++step) {
          Tile::Wgmma::run(sum, Tile::descriptor(a, step), Tile::descriptor(b, step));
        }
      }
      sm90::wgmma_commit();
      sm90::wgmma_wait<0>();
      store_positions<T>(p, tile, columns * kSkipColumns, sum);
    }
    tile = next;
    const uint32_t last = own;
    own = other;
    other = last;
  }
#endif
}

}  // namespace convt3d::cuda::shuffle_gemm
