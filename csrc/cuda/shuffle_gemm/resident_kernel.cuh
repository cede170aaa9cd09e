// SPDX-License-Identifier: BSD-3-Clause
// Forward where blocks of outputs do not overlap, with weights that stay in shared memory (sm_90).
//
//   output[n, co, s * i + t] = bias[co] + sum over ci of input[n, ci, i] * weight[ci, co, t]
//
// M: positions (n, i), 64 in a tile. N: columns, (co, t) or (t, co) as the weight has them, 64 in a
// strip, several of which make up the slice that a block keeps to. K: in_channels, in chunks of
// 128 bytes:
//
//              strip       strip             A warpgroup has a tile of its own: it multiplies its
//           +-----------+-----------+          input by one strip after the other, and stages each
//   chunk   | weight    | weight    | resident one's sums in the order of the output to store them
//           +-----------+-----------+          by 16 bytes, while the others multiply.
//   chunk   | weight    | weight    |
//           +-----------+-----------+
//
//   a warp for each warpgroup copies, up to `slots` chunks ahead
//     full[warpgroup][slot]    its one arrival and the bytes of the copy -> the warpgroup
//     empty[warpgroup][slot]   the 4 warps, their wgmmas done            -> the copying warp
//     weight_full              one for each chunk of each strip, filled once
//
// 16 bits: both operands from shared memory. 32 bits: wgmma wants K along the rows of the weight,
// so the warpgroups bring it there, rounded and transposed; the input comes through registers. In
// NCDHW their K is permuted in eights, {0, 2, 4, 6, 1, 3, 5, 7}, so that the lanes of a load are on
// different banks, and neighbouring rows are a thread's.
//
// resident_fits() and launch_resident() guarantee: kernel = stride, padding 0, dense aligned
// tensors with rows of multiples of 16 bytes, groups of one column or an even number of them.
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/shuffle_gemm/resident_params.h"
#include "cuda/shuffle_gemm/resident_store.cuh"
#include "cuda/shuffle_gemm/resident_weight.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::shuffle_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A chunk of input, of the tile that starts at position `first` of `image`.
template <typename T, bool kRows>
__device__ __forceinline__ void copy_input(const ResidentParams& p, int image, int first, int chunk,
                                           uint32_t target, uint32_t full) {
  constexpr int kChunk = kResidentChunk / sizeof(T);
  sm90::barrier_arrive_expect(full, kResidentBytes);
  if constexpr (kRows) {
    sm90::load_box(target, &p.source, full, chunk * kChunk, first, 0, 0, 0);
  } else {
#pragma unroll
    for (int part = 0; part < kResidentRows * static_cast<int>(sizeof(T)) / 128; ++part) {
      sm90::load_box(target + part * (kChunk * 128), &p.source, full,
                     first + part * (128 / static_cast<int>(sizeof(T))), chunk * kChunk, image, 0,
                     0);
    }
  }
}

// By the copying warp of a warpgroup, before the block's others wait for anything: its barriers,
// its share of the weight, and as many chunks of its first tile as there are slots. A lane each, as
// the numbers of a copy take longer than the copy. Returns how many chunks.
template <typename T, bool kRows>
__device__ __forceinline__ int copy_first(const ResidentParams& p, const ResidentStages& shared,
                                          int slice, int walker, int group) {
  constexpr int kChunk = kResidentChunk / sizeof(T);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int tile = walker + group * p.walkers;
  const int chunks = tile < p.tiles ? min(p.chunks, p.slots) : 0;
  const int image = static_cast<int>(p.image_tiles.divide(tile));
  const int first = (tile - image * static_cast<int>(p.image_tiles.divisor)) * kResidentRows;
  for (int i = lane; i < p.slots; i += 32) {
    sm90::barrier_init(shared.full + 8 * (group * p.slots + i), 1);
    sm90::barrier_init(shared.empty + 8 * (group * p.slots + i), 4);
  }
  const int blocks = p.fills ? 0 : p.strips * p.chunks;
  for (int i = group * 32 + lane; i < blocks; i += p.warpgroups * 32) {
    sm90::barrier_init(shared.weight_full + 8 * i, 1);
  }
  sm90::barrier_init_fence();
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  for (int i = group * 32 + lane; i < blocks; i += p.warpgroups * 32) {
    const int strip = i / p.chunks, chunk = i - strip * p.chunks;
    const int column = (slice * p.strips + strip) * p.groups * p.width;
    const uint32_t full = shared.weight_full + 8 * i;
    sm90::barrier_arrive_expect(full, kResidentBytes);
    sm90::load_box(shared.weight + i * kResidentBytes, &p.weight, full, column, chunk * kChunk, 0,
                   0, 0);
  }
  if (p.packs) sm90::wait_for_earlier_launch();
  for (int i = lane; i < chunks; i += 32) {
    const int slot = group * p.slots + i;
    copy_input<T, kRows>(p, image, first, i, shared.source + slot * kResidentBytes,
                         shared.full + 8 * slot);
  }
  __syncwarp();
  return chunks;
}

// By one lane: all other chunks of a warpgroup's tiles.
template <typename T, bool kRows>
__device__ __forceinline__ void copy_chunks(const ResidentParams& p, const ResidentStages& shared,
                                            int walker, int group, int copied) {
  const uint32_t source = shared.source + group * p.slots * kResidentBytes;
  const uint32_t full = shared.full + 8 * group * p.slots;
  const uint32_t empty = shared.empty + 8 * group * p.slots;
  sm90::Ring ring;
  for (int i = 0; i < copied; ++i) ring.next(p.slots);
#pragma unroll 1
  for (int tile = walker + group * p.walkers; tile < p.tiles; tile += p.warpgroups * p.walkers) {
    const int image = static_cast<int>(p.image_tiles.divide(tile));
    const int first = (tile - image * static_cast<int>(p.image_tiles.divisor)) * kResidentRows;
#pragma unroll 1
    for (int chunk = copied; chunk < p.chunks; ++chunk) {
      sm90::barrier_wait(empty + 8 * ring.stage, ring.parity ^ 1);
      copy_input<T, kRows>(p, image, first, chunk, source + ring.stage * kResidentBytes,
                           full + 8 * ring.stage);
      ring.next(p.slots);
    }
    copied = 0;
  }
}

// A of a chunk with 4-byte elements: four steps of K.
template <bool kRows>
__device__ __forceinline__ void load_input(uint32_t (&a)[4][4], uint32_t chunk) {
  const int lane = static_cast<int>(threadIdx.x) % 32,
            warp = static_cast<int>(threadIdx.x) / 32 % 4;
  if constexpr (kRows) {
    const int row = warp * 16 + lane % 16;
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      load_matrices(a[step], chunk + row * 128 + ((2 * step + lane / 16) ^ row % 8) * 16);
    }
  } else {
    const int pair = lane / 4, quad = lane % 4, piece = warp % 2 * 4 + pair / 2;
    const uint32_t at = chunk + warp / 2 * (32 * 128) + pair % 2 * 8;
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int k = 2 * quad + i;
        asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
                     : "=r"(a[step][2 * i]), "=r"(a[step][2 * i + 1])
                     : "r"(at + (step * 8 + k) * 128 + (piece ^ k) * 16)
                     : "memory");
      }
    }
  }
}

// sum += a chunk's products, under way when this returns in 16 bits, done in 32.
template <Precision kPrecision, bool kRows>
__device__ __forceinline__ void multiply_chunk(float (&sum)[kResidentColumns / 2], uint32_t input,
                                               uint32_t weight) {
  using T = ElementOf<kPrecision>;
  if constexpr (sizeof(T) == 2) {
    constexpr sm90::Major kMajor = kRows ? sm90::Major::k : sm90::Major::mn;
    const auto down_rows = [](uint32_t address, int step) {
      return sm90::descriptor(sm90::mn_descriptor_low((address & 0x3FFFF) + step * 2048, 0),
                              sm90::mn_descriptor_high(128));
    };
    sm90::wgmma_fence();
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      sm90::WgmmaShared<T, kResidentColumns, kMajor, sm90::Major::mn>::run(
          sum, kRows ? sm90::swizzled_descriptor(input) + step * 2 : down_rows(input, step),
          down_rows(weight, step));
    }
    sm90::wgmma_commit();
  } else {
    using Product = sm90::Wgmma<float, kResidentColumns>;
    const uint64_t b = sm90::swizzled_descriptor(weight);
    uint32_t a[4][4];
    load_input<kRows>(a, input);
    sm90::wgmma_fence();
#pragma unroll
    for (int step = 0; step < 4; ++step) Product::run(sum, a[step], b + step * 2, 1);
    sm90::wgmma_commit();
    sm90::wgmma_wait<0>();
  }
}

template <Precision kPrecision, bool kRows>
__device__ __forceinline__ void consume_tiles(const ResidentParams& p, const ResidentStages& shared,
                                              int walker) {
  using T = ElementOf<kPrecision>;
  const int group = static_cast<int>(threadIdx.x) / 128;
  ResidentPlaces<T, kRows> places(p, shared, group);
  const uint32_t bias = shared.bias + threadIdx.x % 4 * 8;
  bool first = sizeof(T) == 2 && !p.fills;  // weights may be on their way
  const uint32_t source = shared.source + group * p.slots * kResidentBytes;
  const uint32_t full = shared.full + 8 * group * p.slots;
  const uint32_t empty = shared.empty + 8 * group * p.slots;
  sm90::Ring start;
#pragma unroll 1
  for (int tile = walker + group * p.walkers; tile < p.tiles; tile += p.warpgroups * p.walkers) {
    sm90::Ring ring = start;
#pragma unroll 1
    for (int strip = 0; strip < p.strips; ++strip) {
      float sum[kResidentColumns / 2];  // starts at the bias
#pragma unroll
      for (int j = 0; j < kResidentColumns / 8; ++j) {
        asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                     : "=f"(sum[4 * j]), "=f"(sum[4 * j + 1])
                     : "r"(bias + (strip * kResidentColumns + 8 * j) * 4)
                     : "memory");
        sum[4 * j + 2] = sum[4 * j];
        sum[4 * j + 3] = sum[4 * j + 1];
      }
      ring = start;
      sm90::Ring done = start;
      const bool last = strip + 1 == p.strips;
#pragma unroll 1
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        const int block = strip * p.chunks + chunk;
        if (strip == 0) sm90::barrier_wait(full + 8 * ring.stage, ring.parity);
        if (first) sm90::barrier_wait(shared.weight_full + 8 * block, 0);
        multiply_chunk<kPrecision, kRows>(sum, source + ring.stage * kResidentBytes,
                                          shared.weight + block * kResidentBytes);
        if constexpr (sizeof(T) == 2) sm90::wgmma_wait<1>();
        if (last && chunk > 0) sm90::release(empty, done);
        done = ring;
        ring.next(p.slots);
      }
      if constexpr (sizeof(T) == 2) sm90::wgmma_wait<0>();
      if (last) sm90::release(empty, done);
      store_strip<kPrecision, kRows>(p, shared, places, group, strip, tile, sum);
    }
    start = ring;
    first = false;
  }
}

#endif

template <Precision kPrecision, bool kRows>
__global__ void __launch_bounds__(resident_warpgroups(kPrecision) * 160, 1)
    resident_kernel(const __grid_constant__ ResidentParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using T = ElementOf<kPrecision>;
  extern __shared__ __align__(1024) unsigned char memory[];
  const ResidentStages shared(p, shared_address(memory));
  const int slice = static_cast<int>(blockIdx.x) % p.slices;
  const int walker = static_cast<int>(blockIdx.x) / p.slices;
  const int consumers = p.warpgroups * 128;
  if (static_cast<int>(threadIdx.x) >= consumers) {
    const int group = (static_cast<int>(threadIdx.x) - consumers) / 32;
    if (threadIdx.x % 32 == 0) {
      sm90::prefetch_map(&p.source);
      if (!p.fills) sm90::prefetch_map(&p.weight);
    }
    __syncwarp();
    const int copied = copy_first<T, kRows>(p, shared, slice, walker, group);
    __syncthreads();  // the barriers are there
    if (threadIdx.x % 32 == 0) copy_chunks<T, kRows>(p, shared, walker, group, copied);
  } else {
    describe_columns<T>(p, shared, slice, consumers);
    if (sizeof(T) == 4 || p.fills) fill_weight<kPrecision, kRows>(p, shared, slice, consumers);
    __syncthreads();  // barriers, tables, and 32-bit weights are there
    consume_tiles<kPrecision, kRows>(p, shared, walker);
  }
#endif
}

}  // namespace convt3d::cuda::shuffle_gemm
