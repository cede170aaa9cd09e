// SPDX-License-Identifier: BSD-3-Clause
// The sums' way into an output whose positions are contiguous (NCDHW), of both residues of w at
// once: those that share the tile, or one and the bias of the other, which has no taps. A warpgroup
// turns its 64 positions around in shared memory, 16 channels at a time,
//
//   staging[16 channels][64 positions x 2 residues of w]      stretch_pitch(): for the banks
//
// and a warp stores the stretches of its channels, the parts of lines that the positions are, by
// pieces of 16 bytes of memory, wherever a line begins:
//
//   memory    |. . . .|. . . .|. . . .|. . . .|      pieces: four words of the staging, or in 16
//   stretch         [.|. . . .|. . . .|. .]          bits five, moved by half a word where the
//                    ^ ends, one by one ^            stretch begins at an odd element
//
// so that 32-byte sectors of memory are written whole but for those at the ends of a stretch.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_gemm/lines.cuh"
#include "cuda/halo_gemm/params.cuh"

namespace convt3d::cuda::halo_gemm {

// Lane i has stretch i: where its first output is, and in bytes of `extent`, as registers are few,
// that output in the staging, how many there are, and the number of stretches, which is at most
// that of lanes (kMinStretchedPitch).
__device__ __forceinline__ LinePlace stretch_place(const Params& p, const Unit& unit, bool marching,
                                                   int first_row) {
  const int lane = threadIdx.x % 32;
  unsigned rest = unit.first + first_row;
  const int start = take(&rest, p.pitch), count = (start + kGroupRows - 1) / p.pitch + 1;
  rest += lane;
  const int h = take(&rest, p.lines), d = take(&rest, p.planes), n = static_cast<int>(rest);
  const int at = lane == 0 ? 0 : lane * p.pitch - start, x = lane == 0 ? start : 0;
  const int w = unit.strip * p.strip + x, positions = min(p.strip - x, kGroupRows - at);
  const Residue& of_h = unit.axis(p, 1);
  const int all = p.axis[2].residue[0].num_outputs + p.axis[2].residue[1].num_outputs;
  const int outputs = min(2 * positions, all - 2 * w);
  bool there = lane < count && n < p.batch && h < of_h.num_outputs && outputs > 0;
  LinePlace place;
  place.offset = n * p.output_stride[0] + 2 * int64_t{w} +
                 (of_h.first_output + int64_t{h} * p.axis[1].stride) * p.output_stride[3];
  if (!marching) {
    const Residue& of_d = unit.axis(p, 0);
    there = there && d < of_d.num_outputs;
    place.offset += (of_d.first_output + int64_t{d} * p.axis[0].stride) * p.output_stride[2];
  }
  place.extent = count << 16 | (there ? outputs << 8 | 2 * at : 0);
  return place;
}

// All four warps of the warpgroup have come here.
__device__ __forceinline__ void sync_warpgroup() {
  asm volatile("bar.sync %0, 128;" ::"r"(1 + threadIdx.x / 128) : "memory");
}

// Where at < count. Without a branch: the compiler would not let wgmma's sums live across one.
__device__ __forceinline__ void store_if(int at, int count, void* to, const uint32_t (&word)[4]) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.lt.s32 p, %5, %6;\n"
      "@p st.global.v4.b32 [%0], {%1, %2, %3, %4};\n}" ::"l"(to),
      "r"(word[0]), "r"(word[1]), "r"(word[2]), "r"(word[3]), "r"(at), "r"(count)
      : "memory");
}
template <typename T>
__device__ __forceinline__ void store_if(int at, int count, T* to, T value) {
  if constexpr (sizeof(T) == 4) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.lt.s32 p, %2, %3;\n@p st.global.f32 [%0], %1;\n}" ::"l"(to),
        "f"(value), "r"(at), "r"(count)
        : "memory");
  } else {
    asm volatile(
        "{\n.reg .pred p;\nsetp.lt.s32 p, %2, %3;\n@p st.global.b16 [%0], %1;\n}" ::"l"(to),
        "h"(*reinterpret_cast<const unsigned short*>(&value)), "r"(at), "r"(count)
        : "memory");
  }
}

// One slot: kChannels / 2 of a thread's sums of both residues of w, or of one where the
// other has no taps and is bias. `swapped`: whether the first of two outputs of a position belongs
// to the second. `bias` and `staging` (of this warpgroup) lie in shared memory.
template <typename T, int kChannels, int kSlot, int kFused, int kSums>
__device__ __forceinline__ void store_fused_lines(const Params& p, const float* bias,
                                                  int column_tile, const LinePlace& own,
                                                  int64_t plane, bool swapped, uint32_t staging,
                                                  const float (&sum)[kFused][kSums]) {
  constexpr int kGroups = kChannels / 8, kSize = sizeof(T), kPitch = stretch_pitch(kSize);
  constexpr int kElements = 16 / kSize;               // of a piece
  constexpr int kLanes = 2 * kGroupRows / kElements;  // of a channel
  constexpr int kAtOnce = 32 / kLanes;                // channels
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, quad = lane % 4;
#pragma unroll
  for (int round = 0; round < kGroups; round += 2) {
    const int groups = min(2, kGroups - round);
    int first = column_tile * kChannels + 8 * round;
    asm volatile("" : "+r"(first));  // or addresses of all rounds would take registers
    sync_warpgroup();                // all have read the channels before -> written
#pragma unroll
    for (int g = 0; g < groups; ++g) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float add = bias[first + 8 * g + 2 * quad + e];
        const uint32_t row = staging + (8 * g + 2 * quad + e) * kPitch;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int at = kSlot * kChannels / 2 + 4 * (round + g) + 2 * i + e;
          const int position = 16 * warp + lane / 4 + 8 * i;
          const float a = sum[0][at] + add;
          float b = add;
          if constexpr (kFused > 1) b += sum[1][at];
          store_shared_pair<T>(row + position * 2 * kSize, swapped ? b : a, swapped ? a : b);
        }
      }
    }
    sync_warpgroup();  // all have written -> read
    // A warp has a quarter of the channels.
    int reader = threadIdx.x % 32;
    // The same, where sums leave fewest registers; with 24 channels it would take more.
    if (kChannels % 16 == 0) asm volatile("" : "+r"(reader));
    const int piece = reader % kLanes * kElements;  // its first element, behind the head
    const bool before = reader % kLanes < kElements, behind = reader % kLanes / kElements == 1;
    const int row = 2 * groups * warp + reader / kLanes, channel = first + row;
    T* const output = static_cast<T*>(p.output) + plane + channel * p.output_stride[1];
#pragma unroll 1
    for (int i = 0; __any_sync(~0u, i < own.extent >> 16); ++i) {
      T* to = output + __shfl_sync(~0u, own.offset, i);
      const uint32_t extent = __shfl_sync(~0u, own.extent, i);
      const int outputs = extent / 256 % 256;
      const uint32_t from = staging + row * kPitch + extent % 256 * kSize;
#pragma unroll
      for (int s = 0; s < 2 * groups; s += kAtOnce) {
        const int here = channel + s < p.out_channels ? outputs : 0;
        const auto misplaced = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(to)) / kSize;
        const int head = min(static_cast<int>(-misplaced % kElements), here), rest = here - head;
        const bool whole = piece + kElements - 1 < rest;
        const uint32_t start_of_pieces = from + s * kPitch + head * kSize;
        const uint32_t words = (whole ? start_of_pieces + piece * kSize : staging) & ~3u;
        uint32_t word[5];
#pragma unroll
        for (int v = 0; v < (kSize == 2 ? 5 : 4); ++v) word[v] = load_shared(words + 4 * v);
        const int element =
            before ? reader % kLanes
                   : here - static_cast<uint32_t>(rest) % kElements + reader % kElements;
        const int limit = before ? head : behind ? here : 0;
        const T end =
            load_shared_element<T>(element < limit ? from + s * kPitch + element * kSize : staging);
        uint32_t shifted[4];
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          shifted[v] = word[v];
          if constexpr (kSize == 2) {
            shifted[v] = __funnelshift_r(word[v], word[v + 1], start_of_pieces % 4 * 8);
          }
        }
        store_if(piece + kElements - 1, rest, to + head + piece, shifted);
        store_if(element, limit, to + element, end);
        to += kAtOnce * p.output_stride[1];
      }
    }
  }
}

}  // namespace convt3d::cuda::halo_gemm
