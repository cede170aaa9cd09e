// SPDX-License-Identifier: BSD-3-Clause
// The sums' way into an output whose positions are contiguous (NCDHW), of both residues of w at
// once: those that share the tile, or one and the bias of the other, which has no taps. A warpgroup
// turns its 64 positions around in shared memory, stretch_channels() at a time,
//
//   staging[channels][64 positions x 2 residues of w]      stretch_pitch(): for the banks
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
__device__ __forceinline__ void store_if(uint32_t at, uint32_t count, void* to,
                                         const uint32_t (&word)[4]) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.lt.u32 p, %5, %6;\n"
      "@p st.global.v4.b32 [%0], {%1, %2, %3, %4};\n}" ::"l"(to),
      "r"(word[0]), "r"(word[1]), "r"(word[2]), "r"(word[3]), "r"(at), "r"(count)
      : "memory");
}
template <typename T>
__device__ __forceinline__ void store_if(uint32_t at, uint32_t count, T* to, T value) {
  if constexpr (sizeof(T) == 4) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.lt.u32 p, %2, %3;\n@p st.global.f32 [%0], %1;\n}" ::"l"(to),
        "f"(value), "r"(at), "r"(count)
        : "memory");
  } else {
    asm volatile(
        "{\n.reg .pred p;\nsetp.lt.u32 p, %2, %3;\n@p st.global.b16 [%0], %1;\n}" ::"l"(to),
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
  constexpr int kRound = stretch_channels(kSize) / 8;  // groups
  constexpr int kElements = 16 / kSize;                // of a piece
  constexpr int kPieces = 2 * kGroupRows / kElements;  // of a channel
  constexpr int kLanes = 8, kRowsApart = 4 / kSize;    // see below
  // Eight lanes store 128 bytes of a channel. Measured: in TF32 those of one line of memory, which
  // is one step more, 32 -> 32 k3 s2 on 4 x 32 x 64 x 128 in 706 instead of 768 us, 64 -> 64 on
  // 24 x 80 x 160 in 504 instead of 514; in bfloat16 419 and 432, but 331 and 323.
  constexpr bool kWholeLines = kSize == 4;
  constexpr int kSteps = kPieces / kLanes + kWholeLines;
  constexpr int kBatch = 2 + kWholeLines;  // pieces of a lane at once
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, quad = lane % 4;
#pragma unroll
  for (int round = 0; round < kGroups; round += kRound) {
    const int groups = min(kRound, kGroups - round);
    int first = column_tile * kChannels + 8 * round;
    asm volatile("" : "+r"(first));  // or addresses of all rounds would take registers
    // A group's bias is asked for one group ahead.
    const auto bias_of = [&](int g) {
      return *reinterpret_cast<const float2*>(bias + first + 8 * g + 2 * quad);
    };
    float2 next = bias_of(0);
    sync_warpgroup();  // all have read the channels before -> written
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      const float add[2] = {next.x, next.y};
      if (g + 1 < groups) next = bias_of(g + 1);
      const auto value = [&](int f, int i, int e) {
        return sum[f][kSlot * kChannels / 2 + 4 * (round + g) + 2 * i + e] + add[e];
      };
#pragma unroll
      for (int ei = 0; ei < 4; ++ei) {
        const int e = ei / 2, i = ei % 2, position = 16 * warp + lane / 4 + 8 * i;
        const float a = value(0, i, e), b = kFused > 1 ? value(kFused - 1, i, e) : add[e];
        store_shared_pair<T>(staging + (8 * g + 2 * quad + e) * kPitch + position * 2 * kSize,
                             swapped ? b : a, swapped ? a : b);
      }
    }
    sync_warpgroup();  // all have written -> read
    // A warp has a quarter of the channels, four at once, 8 lanes each: where a channel's distance
    // is odd, stretches of those four begin in different words modulo 16 bytes, so that words of
    // neighbouring pieces lie in 32 banks.
    int reader = threadIdx.x % 32;
    asm volatile("" : "+r"(reader));  // or this would take registers where sums leave fewest
    const int at = reader % kLanes, of_warp = reader / kLanes * kRowsApart;
    const int row = 2 * groups * warp + of_warp, channel = first + row;
    T* const output = static_cast<T*>(p.output) + plane + channel * p.output_stride[1];
#pragma unroll 1
    for (int i = 0; __any_sync(~0u, i < own.extent >> 16); ++i) {
      T* to = output + __shfl_sync(~0u, own.offset, i);
      const uint32_t extent = __shfl_sync(~0u, own.extent, i);
      const int outputs = extent / 256 % 256;
      uint32_t from = staging + row * kPitch + extent % 256 * kSize;
#pragma unroll
      for (int s = 0; s < kRowsApart; ++s) {
        const bool there = of_warp + s < 2 * groups && channel + s < p.out_channels;
        const int here = there ? outputs : 0;
        const auto misplaced = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(to)) / kSize;
        const int head = min(static_cast<int>(-misplaced % kElements), here), rest = here - head;
        const uint32_t pieces = from + head * kSize, count = rest / kElements;
        const uint32_t ahead =
            kWholeLines ? reinterpret_cast<uintptr_t>(to + head) / 16 % kLanes : 0;
#pragma unroll
        for (int f = 0; f < kSteps; f += kBatch) {
          uint32_t word[kBatch][5];
#pragma unroll
          for (int j = 0; j < kBatch && f + j < kSteps; ++j) {
            const uint32_t piece = (f + j) * kLanes + at - ahead;
            const uint32_t words = (piece < count ? pieces + piece * 16 : staging) & ~3u;
#pragma unroll
            for (int v = 0; v < (kSize == 2 ? 5 : 4); ++v) word[j][v] = load_shared(words + 4 * v);
          }
#pragma unroll
          for (int j = 0; j < kBatch && f + j < kSteps; ++j) {
            const uint32_t piece = (f + j) * kLanes + at - ahead;
            uint32_t shifted[4];
#pragma unroll
            for (int v = 0; v < 4; ++v) {
              shifted[v] = word[j][v];
              if constexpr (kSize == 2) {
                shifted[v] = __funnelshift_r(word[j][v], word[j][v + 1], pieces % 4 * 8);
              }
            }
            store_if(piece, count, to + head + static_cast<int>(piece) * kElements, shifted);
          }
        }
        const int tail = here - static_cast<uint32_t>(rest) % kElements + at;
        const T before = load_shared_element<T>(at < head ? from + at * kSize : staging);
        const T behind = load_shared_element<T>(tail < here ? from + tail * kSize : staging);
        store_if(at, head, to + at, before);
        store_if(tail, here, to + tail, behind);
        to += p.output_stride[1];
        from += kPitch;
      }
    }
  }
}

}  // namespace convt3d::cuda::halo_gemm
