// SPDX-License-Identifier: BSD-3-Clause
// Lines that start on any element (an odd width, or a padding that no other tile is built for) are
// copied as the words that hold them: a row in shared memory begins with its line's first element,
// or with the one before it. Words at a line's ends hold elements of its neighbours too, of which
// copies leave out the last, and a store replaces the first.
#pragma once
#include "cuda/line_weight/copies.cuh"

namespace convt3d::cuda::line_weight {

// Whether an element is the second of its word.
__device__ __forceinline__ int is_second(const unsigned short* element) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(element) >> 1 & 1);
}

// The second elements of words whose first is before the line: one for each line at most.
struct Heads {
  static constexpr int kOfLane = kMaxOddLines / 32;
  int target[kOfLane];  // bytes of a stage; below zero: none
  unsigned short value[kOfLane];

  __device__ __forceinline__ Heads(const Params& p, const Slots& all, const Origin& origin) {
    // Only a tile at the head of its lines has such words, and all in the same piece of a line, or
    // in that and none: 2 * piece - second = before - 1, where the line's first is a second.
    const int before = -origin.at[2], lines = all.copies / p.output.pieces;
    const int second = (before - 1) & 1, piece = (before - 1 + second) / 2;
#pragma unroll
    for (int i = 0; i < kOfLane; ++i) {
      target[i] = -1;
      value[i] = 0;
      const int line = threadIdx.x % 32 + 32 * i, index = line * p.output.pieces + piece;
      if (before < 0 || line >= lines) continue;
      const unsigned short* from = origin.data + all.slots[index].offset;
      if (is_second(from) != second) continue;
      target[i] = all.slots[index].target;
      if (origin.has_line(p.output, all.at[index])) value[i] = from[1 - second];
    }
  }
  __device__ __forceinline__ void store(uint32_t stage) const {
#pragma unroll
    for (int i = 0; i < kOfLane; ++i) {
      if (target[i] < 0) continue;
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(stage + target[i]),
                   "r"(uint32_t{value[i]} << 16));
    }
  }
};

template <bool kInside>
__device__ __forceinline__ void load_odd_lines(const Slots& all, const Source& source,
                                               const Origin& origin, uint32_t stage) {
  constexpr int kBatch = batch_of(kWordElements);  // as load() has them
  const unsigned short* data = origin.data;
  asm volatile("" : "+l"(data));  // one addition for each address
#pragma unroll 1
  for (int i = threadIdx.x % 32; i < all.count; i += 32 * kBatch) {
    const unsigned short* from[kBatch];
    int target[kBatch], bytes[kBatch];
    bool there[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const Slot slot = all.slots[i + 32 * b];
      target[b] = slot.target;
      from[b] = data + slot.offset;
      const int second = is_second(from[b]);
      from[b] -= second;
      bytes[b] = 4;
      there[b] = true;
      if constexpr (!kInside) {
        const uint32_t at = all.at[i + 32 * b];
        const int w = origin.at[2] + static_cast<int>(at & ((1 << kBitsW) - 1)) - second;
        const int left = origin.has_line(source, at) && w >= 0 ? source.extent[2] - w : 0;
        bytes[b] = left >= 2 ? 4 : left == 1 ? 2 : 0;
        there[b] = w != -1;  // else it is one of Heads
      }
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      if (there[b]) copy_async<4>(stage + target[b], from[b], bytes[b]);
    }
  }
}

__device__ __forceinline__ void load_odd_lines(const Params& p, const Slots& all,
                                               const Origin& origin, uint32_t stage) {
  if (origin.at[2] > 0 && origin.is_inside(p.output)) {
    return load_odd_lines<true>(all, p.output, origin, stage);
  }
  const Heads heads(p, all, origin);
  load_odd_lines<false>(all, p.output, origin, stage);
  heads.store(stage);
}

}  // namespace convt3d::cuda::line_weight
