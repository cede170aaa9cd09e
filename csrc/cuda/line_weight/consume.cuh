// SPDX-License-Identifier: BSD-3-Clause
// The consumers. A thread holds, of each of its lines of grad_output, the elements of two
// neighbouring positions in a register per tap, picked out of two words of the line:
//
//   stride 2, line  e0 o0 | e1 o1 | e2 o2     even and odd elements of positions 0, 1, ..
//   taps 0, 1       (e0 e1)  (o0 o1)          of two taps (padding 0)
//   taps 0 .. 3     (o-1 o0) (e0 e1) (o0 o1) (e1 e2)    of three and four (padding 1)
//
// wgmma reads the other operand, [in_channel][32 positions], from shared memory.
#pragma once
#include "cuda/common/cluster.cuh"
#include "cuda/common/element.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/line_weight/produce.cuh"
#include "cuda/line_weight/tap_words.cuh"
#include "cuda/sm90/parked_sums.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::line_weight {

// Of two positions, whose first element (or the one before it, where a line starts in the middle
// of a word) is at `address`: a register for each tap.
template <int kStride, int kTaps>
__device__ __forceinline__ void load_taps(uint32_t (&tap)[kTaps], uint32_t address) {
  if constexpr (kStride == 1) {
    static_assert(kTaps == 1);
    tap[0] = load_shared(address);
  } else if constexpr (kStride == 4) {
    static_assert(kTaps == 4);
    uint32_t word[4];
    load_words(word, address);
    tap[0] = lower(word[0], word[2]);
    tap[1] = upper(word[0], word[2]);
    tap[2] = lower(word[1], word[3]);
    tap[3] = upper(word[1], word[3]);
  } else if constexpr (kTaps <= 2) {
    uint32_t word[2];
    load_words(word, address);
    tap[0] = lower(word[0], word[1]);
    if constexpr (kTaps == 2) tap[1] = upper(word[0], word[1]);
  } else {
    const uint32_t before = load_shared(address);
    uint32_t word[2];
    load_words(word, address + 4);
    tap[0] = upper(before, word[0]);
    tap[1] = lower(word[0], word[1]);
    tap[2] = upper(word[0], word[1]);
    if constexpr (kTaps == 4) tap[3] = lower(word[1], load_shared(address + 12));
  }
}

// The same of a line whose first element is `address`'s first or, as `shift` says, its second.
template <int kTaps>
__device__ __forceinline__ void load_odd_taps(uint32_t (&tap)[kTaps], uint32_t address,
                                              uint32_t shift) {
  const auto pair = [&](uint32_t a, uint32_t b) {
    uint32_t both;
    asm volatile("prmt.b32 %0, %1, %2, %3;" : "=r"(both) : "r"(a), "r"(b), "r"(shift));
    return both;
  };
  uint32_t word[2];
  load_words(word, address);
  if constexpr (kTaps <= 2) {
    const uint32_t last = load_shared(address + 8);
    const uint32_t first = pair(word[0], word[1]), second = pair(word[1], last);
    tap[0] = lower(first, second);
    if constexpr (kTaps == 2) tap[1] = upper(first, second);
  } else {
    uint32_t next[2];
    load_words(next, address + 8);
    const uint32_t first = pair(word[0], word[1]), second = pair(word[1], next[0]);
    const uint32_t third = pair(next[0], next[1]);
    tap[0] = lower(first, second);
    tap[1] = upper(first, second);
    tap[2] = lower(second, third);
    if constexpr (kTaps == 4) tap[3] = upper(second, third);
  }
}

template <Tile kTile>
using Sums = float[kTile.slabs()][kTile.columns / 2];

// A thread's line `group`, of its block.
template <Tile kTile>
__device__ __forceinline__ int line_of(int thread, int group) {
  return (thread / 32 * kTile.groups + group) * 8 + thread % 32 / 4;
}

// Row of a slab (0, or 1 for 8 further on) and slab that a line's tap is.
struct RowPlace {
  int slab, half;
};
template <Tile kTile>
__device__ __forceinline__ constexpr RowPlace place_of(int group, int tap) {
  const int slot = group * kTile.taps + tap;
  return {slot / 2, slot % 2};
}

// Sums of in_channels 8 * j + 2 * (thread % 4) and the next, of all lines of `thread`, into the
// weight. value(i): sum i % 4 of slab i / 4.
template <typename T, Tile kTile, typename Value>
__device__ __forceinline__ void store_sums(const Params& p, int first_line, int first_column,
                                           int thread, int j, const Value& value) {
  const int taps = p.kernel[0] * p.kernel[1];
#pragma unroll
  for (int group = 0; group < kTile.groups; ++group) {
    const int line = first_line + line_of<kTile>(thread, group);
    if (line >= p.lines) continue;
    const int channel = line / taps, tap = line - channel * taps, d = tap / p.kernel[1];
    const int64_t to = channel * p.result.stride[1] + d * p.result.stride[2] +
                       (tap - d * p.kernel[1]) * p.result.stride[3];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int column = first_column + 8 * j + thread % 4 * 2 + e;
      if (column >= p.in_channels) continue;
      T* at = static_cast<T*>(p.result.data) + to + column * p.result.stride[0];
      T result[kTile.taps];
#pragma unroll
      for (int t = 0; t < kTile.taps; ++t) {
        const RowPlace place = place_of<kTile>(group, t);
        result[t] = narrow<T>(value(4 * place.slab + 2 * place.half + e));
      }
      if constexpr (kTile.taps == 2 || kTile.taps == 4) {
        if (p.result.whole) {
          using Whole = std::conditional_t<kTile.taps == 2, uint32_t, uint2>;
          Whole whole;
          memcpy(&whole, result, sizeof(Whole));
          *reinterpret_cast<Whole*>(at) = whole;
          continue;
        }
      }
#pragma unroll
      for (int t = 0; t < kTile.taps; ++t) at[t * p.result.stride[4]] = result[t];
    }
  }
}

// Of a cluster's blocks: sums [slab][eight columns][thread], where the stages were.
template <Tile kTile>
__device__ __forceinline__ void leave_sums(Sums<kTile>& sums, uint32_t stages) {
  sm90::pin(sums);
  asm volatile("bar.sync 1, %0;" ::"n"(kConsumerThreads) : "memory");  // nobody reads a stage
#pragma unroll
  for (int i = 0; i < kTile.slabs() * kTile.columns / 8; ++i) {
    const float* four = &sums[i / (kTile.columns / 8)][i % (kTile.columns / 8) * 4];
    // As float: the sums stay in wgmma's registers.
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(
                     stages + (i * kConsumerThreads + threadIdx.x) * 16),
                 "f"(four[0]), "f"(four[1]), "f"(four[2]), "f"(four[3])
                 : "memory");
  }
}

// The consumers of a cluster: each block adds its share of the columns, block after block.
template <typename T, Tile kTile>
__device__ __forceinline__ void add_cluster(const Params& p, const Job& job, uint32_t stages) {
  constexpr int kSlabs = kTile.slabs(), kColumnGroups = kTile.columns / 8;
  cluster_barrier();  // all sums are there
  for (int j = job.split; j < kColumnGroups; j += p.splits) {
    double sum[4 * kSlabs] = {};  // leaves one rounding
#pragma unroll 2
    for (int block = 0; block < p.splits; ++block) {
#pragma unroll
      for (int slab = 0; slab < kSlabs; ++slab) {
        const uint32_t at =
            stages + ((slab * kColumnGroups + j) * kConsumerThreads + threadIdx.x) * 16;
        const float4 part = load_from_block(at, block);
        sum[4 * slab] += part.x;
        sum[4 * slab + 1] += part.y;
        sum[4 * slab + 2] += part.z;
        sum[4 * slab + 3] += part.w;
      }
    }
    store_sums<T, kTile>(p, job.first_line, job.first_column, threadIdx.x, j,
                         [&](int i) { return static_cast<float>(sum[i]); });
  }
  cluster_barrier();  // no block ends while others read its sums
}

template <typename T, Tile kTile>
__device__ __forceinline__ void consume(const Params& p, const Job& job, uint32_t stages,
                                        uint32_t full, uint32_t empty, uint32_t seconds) {
  constexpr int kSteps = kPositions / 16;
  const int thread = threadIdx.x, quad = thread % 4;
  // Bytes of a row to each pair of positions that this thread holds.
  uint32_t pair[kSteps][2];
  const int places = p.box[0] * p.box[1] * p.input_pitch;
#pragma unroll
  for (int i = 0; i < 2 * kSteps; ++i) {
    const int position = 8 * i + 2 * quad, line = position / p.input_pitch;
    const int w = position - line * p.input_pitch;
    // Positions that a stage does not have: zeros behind its lines.
    const int element = position < places ? line * p.output_pitch + kTile.stride * w + (p.lead & ~1)
                                          : p.box[0] * p.box[1] * p.output_pitch + (p.lead & 2);
    pair[i / 2][i % 2] = 2 * element;
  }
  const uint32_t mine = kTile.columns * kColumnBytes + line_of<kTile>(thread, 0) * p.row_bytes;
  const uint32_t next_group = 8 * p.row_bytes;
  uint32_t odd_row[kTile.groups] = {};  // elements from a tile's first to a line's first are odd
  if constexpr (kTile.odd) {
    const int taps = p.kernel[0] * p.kernel[1];
#pragma unroll
    for (int group = 0; group < kTile.groups; ++group) {
      const int line = job.first_line + line_of<kTile>(thread, group), channel = line / taps;
      const int tap = line - channel * taps, d = tap / p.kernel[1];
      odd_row[group] = (channel * p.output.stride[0] + d * p.dilation[0] * p.output.stride[1] +
                        (tap - d * p.kernel[1]) * p.dilation[1] * p.output.stride[2]) &
                       1;
    }
  }
  const sm90::Parking parking{p.partial, kSteps * p.chain};
  sm90::ParkedSums<kConsumerThreads> parked(parking);
  parked.start();
  Sums<kTile> sums = {};
  sm90::Ring ring;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile, ring.next(p.stages)) {
    sm90::barrier_wait(full + 8 * ring.stage, ring.parity);
    // What the producers wrote is read by wgmma: from the generic to the async proxy.
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    const uint32_t columns = stages + ring.stage * p.stage_bytes, rows = columns + mine;
    uint32_t a[kSteps][kTile.slabs()][4];
    uint32_t second = 0;
    if constexpr (kTile.odd) second = load_shared(seconds + 4 * ring.stage);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int group = 0; group < kTile.groups; ++group) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          uint32_t tap[kTile.taps];
          const uint32_t address = rows + group * next_group + pair[step][half];
          if constexpr (kTile.odd) {
            load_odd_taps(tap, address, odd_row[group] != second ? 0x5432 : 0x3210);
          } else {
            load_taps<kTile.stride>(tap, address);
          }
#pragma unroll
          for (int t = 0; t < kTile.taps; ++t) {
            const RowPlace place = place_of<kTile>(group, t);
            a[step][place.slab][place.half + 2 * half] = tap[t];
          }
        }
      }
    }
    sm90::wgmma_fence();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const uint64_t b = sm90::descriptor(sm90::mn_descriptor_low(columns + 32 * step, 16),
                                          sm90::mn_descriptor_high(kColumnBytes));
#pragma unroll
      for (int slab = 0; slab < kTile.slabs(); ++slab) {
        sm90::Wgmma<T, kTile.columns>::run(sums[slab], a[step][slab], b, 1);
      }
    }
    sm90::wgmma_commit();
    sm90::wgmma_wait<0>();
    sm90::release(empty, ring);
    if (tile + 1 < job.end_tile) parked.add(kSteps, kSteps, sums);
  }
  if (p.clustered) {
    leave_sums<kTile>(sums, stages);
    return add_cluster<T, kTile>(p, job, stages);
  }
  if (p.splits > 1) return parked.park(sums);
  parked.collect(sums);
#pragma unroll
  for (int j = 0; j < kTile.columns / 8; ++j) {
    store_sums<T, kTile>(p, job.first_line, job.first_column, thread, j,
                         [&](int i) { return sums[i / 4][4 * j + i % 4]; });
  }
}

}  // namespace convt3d::cuda::line_weight
