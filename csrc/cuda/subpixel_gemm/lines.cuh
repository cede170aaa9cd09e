// SPDX-License-Identifier: BSD-3-Clause
// Lines of a tile, between stage[position][column] and the output (or grad_output).
#pragma once
#include "cuda/subpixel_gemm/tile.cuh"

namespace convt3d::cuda::subpixel_gemm {

__device__ __forceinline__ int line_elements(const Params& p) {
  return p.config.tile_w * p.stride[2] * p.config.tile_groups * p.config.tile_outs;
}

// Every line of positions with every line of the chunk; by the warp that put the positions.
template <typename T>
__device__ __forceinline__ void fill_segments(const Params& p, const Job& job,
                                              const Shared<T>& shared, int tile) {
  const int lane = threadIdx.x % 32;
  const int lines = job.c->lines, all = p.config.tile_lines * lines;
  const int channels = p.config.tile_groups * p.config.tile_outs;
  const int first_w = tile % p.config.parts_w * p.config.step_w;
  const int w = (p.config.first_q + first_w) * p.stride[2] - p.padding[2];  // of element 0
  T* const output = static_cast<T*>(p.output) + w * p.output_stride[4];
  const bool words = sizeof(T) == 2 && p.paired;
  int kinds = 0;
  for (int i = lane; i < all; i += 32) {
    const int of_positions = i / lines, of_chunk = i % lines;
    const Line from = shared.positions[of_positions], line = shared.lines[of_chunk];
    bool there = line.at[0] >= 0;
#pragma unroll
    for (int axis = 0; axis < 2; ++axis) {
      there &= static_cast<unsigned>(from.at[axis] + line.at[axis]) <
               static_cast<unsigned>(p.output_extent[axis]);
    }
    T* const out = output + from.offset + line.offset;
    const int odd = words ? static_cast<int>(reinterpret_cast<uintptr_t>(out) / sizeof(T) % 2) : 0;
    shared.segments[i] = {
        there ? out : nullptr,
        static_cast<int>(sizeof(T)) *
            (of_positions * p.config.tile_w * shared.stage_pitch + of_chunk * p.stride[2]),
        odd};
    kinds |= 1 << odd;
  }
  kinds = (__any_sync(~0u, kinds & 1) ? 1 : 0) | (__any_sync(~0u, kinds & 2) ? 2 : 0);
  if (lane == 0) {
    const int positions = min(p.config.tile_w, p.config.num_q - first_w);
    *shared.range = {max(0, -w) * channels,
                     min(positions * p.stride[2], p.output_extent[2] - w) * channels, kinds};
  }
}

template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 2, unsigned short, uint32_t>;

// The words of a line that a lane takes, 32 words apart: kStep elements each.
template <typename T, int kStep, bool kDense>
struct LaneWords {
  static constexpr int kWords = 5, kReach = 32 * kWords * kStep;
  uint32_t order[kWords];
  int place[kDense ? 1 : kWords];
  uint32_t there;  // a bit each

  __device__ LaneWords(const Shared<T>& shared, int first, int end) : there(0) {
#pragma unroll
    for (int u = 0; u < kWords; ++u) {
      const int e = first + (static_cast<int>(threadIdx.x) % 32 + 32 * u) * kStep;
      const bool inside = e + kStep <= end;
      there |= (inside ? 1u : 0u) << u;
      order[u] = inside ? shared.order[e] : 0;
      if constexpr (!kDense) place[u] = inside ? shared.jumps[e] : 0;
      if constexpr (kDense) place[0] = first + static_cast<int>(threadIdx.x) % 32 * kStep;
    }
  }
  __device__ bool has(int u) const { return there >> u & 1; }
  __device__ int at(int u) const {
    if constexpr (kDense) return place[0] + 32 * u * kStep;
    return place[u];
  }
};

// The elements at both ends of a line that are half a word: lane 0 and 1 have one, or -1.
__device__ __forceinline__ int single_element(int begin, int first, int end) {
  const int lane = threadIdx.x % 32;
  if (lane == 0 && first > begin && begin < end) return begin;
  return lane == 1 && first < end && (end - first) % 2 == 1 ? end - 1 : -1;
}

template <typename Bits>
__device__ __forceinline__ Bits& at_byte(Bits* base, uint32_t bytes) {
  return *reinterpret_cast<Bits*>(reinterpret_cast<char*>(base) + bytes);
}

// stage to the output: the lines of a kind, a line a warp.
template <typename T, int kStep, bool kDense>
__device__ __forceinline__ void store_kind(const Shared<T>& shared, int kind, int segments) {
  using Bits = BitsOf<T>;
  using Words = LaneWords<T, kStep, kDense>;
  const Range range = *shared.range;
  int first = range.begin + (kStep == 2 ? (range.begin ^ kind) & 1 : 0);
  const int single = kStep == 2 ? single_element(range.begin, first, range.end) : -1;
  bool at_ends = kStep == 2;
  do {
    const Words words(shared, first, range.end);
#pragma unroll 1
    for (int i = threadIdx.x / 32; i < segments; i += kWarps) {
      const Segment segment = shared.segments[i];
      if (segment.output == nullptr || (kStep == 2 && segment.odd != kind)) continue;
      Bits* const stage = &at_byte(reinterpret_cast<Bits*>(shared.stage), segment.stage);
      Bits* const output = static_cast<Bits*>(segment.output);
#pragma unroll
      for (int u = 0; u < Words::kWords; ++u) {
        if (!words.has(u)) continue;
        if constexpr (kStep == 2) {
          const uint32_t low = at_byte(stage, words.order[u] & 0xffff);
          const uint32_t high = at_byte(stage, words.order[u] >> 16);
          *reinterpret_cast<uint32_t*>(output + words.at(u)) = low | high << 16;
        } else {
          output[words.at(u)] = at_byte(stage, words.order[u] & 0xffff);
        }
      }
      if (at_ends && single >= 0) {
        output[single] = at_byte(stage, shared.order[single] & 0xffff);
      }
    }
    first += Words::kReach;
    at_ends = false;
  } while (first < range.end);
}

// grad_output to stage: the same, with zeros for lines that are not there, kLines at a time.
template <typename T, int kStep, bool kDense, int kLines>
__device__ __forceinline__ void load_kind(const Shared<T>& shared, int kind, int segments) {
  using Bits = BitsOf<T>;
  using Words = LaneWords<T, kStep, kDense>;
  const Range range = *shared.range;
  int first = range.begin + (kStep == 2 ? (range.begin ^ kind) & 1 : 0);
  const int single = kStep == 2 ? single_element(range.begin, first, range.end) : -1;
  bool at_ends = kStep == 2;
  do {
    const Words words(shared, first, range.end);
#pragma unroll 1
    for (int from = threadIdx.x / 32; from < segments; from += kWarps * kLines) {
      uint32_t word[kLines][Words::kWords];
      Bits end[kLines];
      int stage[kLines];  // none: below 0
#pragma unroll
      for (int s = 0; s < kLines; ++s) {
        const Segment segment = shared.segments[min(from + s * kWarps, segments - 1)];
        const bool own = from + s * kWarps < segments && (kStep == 1 || segment.odd == kind);
        stage[s] = own ? segment.stage : -1;
        const Bits* const output = own ? static_cast<const Bits*>(segment.output) : nullptr;
#pragma unroll
        for (int u = 0; u < Words::kWords; ++u) {
          word[s][u] = 0;
          if (output == nullptr || !words.has(u)) continue;
          if constexpr (kStep == 2) {
            word[s][u] = *reinterpret_cast<const uint32_t*>(output + words.at(u));
          } else {
            word[s][u] = output[words.at(u)];
          }
        }
        end[s] = at_ends && single >= 0 && output != nullptr ? output[single] : 0;
      }
#pragma unroll
      for (int s = 0; s < kLines; ++s) {
        if (stage[s] < 0) continue;
        Bits* const to = &at_byte(reinterpret_cast<Bits*>(shared.stage), stage[s]);
#pragma unroll
        for (int u = 0; u < Words::kWords; ++u) {
          if (!words.has(u)) continue;
          at_byte(to, words.order[u] & 0xffff) = static_cast<Bits>(word[s][u]);
          if constexpr (kStep == 2) {
            at_byte(to, words.order[u] >> 16) = static_cast<Bits>(word[s][u] >> 16);
          }
        }
        if (at_ends && single >= 0) at_byte(to, shared.order[single] & 0xffff) = end[s];
      }
    }
    first += Words::kReach;
    at_ends = false;
  } while (first < range.end);
}

// Calls body.operator()<step, dense>(kind) for the kinds of lines that there are.
template <typename T, typename Body>
__device__ __forceinline__ void for_each_kind(const Params& p, const Shared<T>& shared,
                                              const Body& body) {
  if (sizeof(T) == 2 && p.paired) {
    const int kinds = shared.range->kinds;
    for (int kind = 0; kind < 2; ++kind) {
      if ((kinds >> kind & 1) == 0) continue;
      if (p.config.dense) {
        body.template operator()<sizeof(T) == 2 ? 2 : 1, true>(kind);
      } else {
        body.template operator()<sizeof(T) == 2 ? 2 : 1, false>(kind);
      }
    }
  } else if (sizeof(T) == 4 && p.config.dense) {
    body.template operator()<1, true>(0);
  } else {
    body.template operator()<1, false>(0);
  }
}

template <typename T>
__device__ __forceinline__ void store_lines(const Params& p, const Shared<T>& shared,
                                            int segments) {
  for_each_kind(p, shared, [&]<int kStep, bool kDense>(int kind) {
    store_kind<T, kStep, kDense>(shared, kind, segments);
  });
}

// Elements that are not in grad_output are zeros from before, or where tiles differ, written here.
template <int kLines, typename T>
__device__ __forceinline__ void load_lines(const Params& p, const Shared<T>& shared, int segments) {
  if (p.config.parts_w > 1) {
    const Range range = *shared.range;
    const int elements = line_elements(p);
    for (int i = threadIdx.x / 32; i < segments; i += kWarps) {
      auto* const stage = reinterpret_cast<BitsOf<T>*>(shared.stage);
      for (int e = threadIdx.x % 32; e < elements; e += 32) {
        if (e >= range.begin && e < range.end) continue;
        at_byte(stage, shared.segments[i].stage + (shared.order[e] & 0xffff)) = 0;
      }
    }
  }
  for_each_kind(p, shared, [&]<int kStep, bool kDense>(int kind) {
    load_kind<T, kStep, kDense, kLines>(shared, kind, segments);
  });
}

// The gradients' start: tables, the first tile's positions and, until the next barrier, its
// segments; zeros in the stage, which rows and columns that no line fills are multiplied with.
template <typename T>
__device__ __forceinline__ void prepare_lines(const Params& p, const Job& job,
                                              const Shared<T>& shared) {
  const bool puts = threadIdx.x / 32 == kWarps - 1;
  fill_tables(p, job, shared);
  if (puts) put_positions(p, job, shared, job.first_tile);
  for (int i = threadIdx.x; i < kTileRows * shared.stage_pitch / kPerWord<T>; i += kThreads) {
    reinterpret_cast<uint32_t*>(shared.stage)[i] = 0;
  }
  __syncthreads();  // tables and positions are there
  if (puts) fill_segments(p, job, shared, job.first_tile);
}

// The gradients' next tile, by the warp that puts positions, while the others multiply.
template <typename T>
__device__ __forceinline__ void prepare_next(const Params& p, const Job& job,
                                             const Shared<T>& shared, int tile) {
  if (threadIdx.x / 32 != kWarps - 1) return;
  put_positions(p, job, shared, tile);
  __syncwarp();  // its lines are there
  fill_segments(p, job, shared, tile);
}

}  // namespace convt3d::cuda::subpixel_gemm
