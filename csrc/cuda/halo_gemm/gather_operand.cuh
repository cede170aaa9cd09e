// SPDX-License-Identifier: BSD-3-Clause
// A of gather_kernel.cuh: what a lane gathers out of a stage for one tap of h, three steps of
// wgmma.
//
//   aligned lines (all begin on 16 bytes, padding 1 along w): a lane's rows are neighbours,
//   positions i = 2 (lane / 4) and i + 1, whose taps are elements 2 i - 1 .. 2 i + 3 of the line;
//   all but the first are one load, and only that one may lie outside the line
//
//   others: its rows are positions lane / 4 and 8 on, whose taps begin anywhere
//     16 bits   both words of three taps are loaded, and the halves picked
//     TF32      lanes of two taps read neighbours, for fewer conflicts of banks
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/halo_gemm/gather_params.h"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Where a lane's rows of a tile are: bytes from the first element of a channel of a stage, for tap
// 0 of h and w; of aligned lines those of the first row's tap 1, and the channels' place added.
struct GatherRows {
  int line, at;  // line of the tile, -1 without a run
  // Of both rows: bytes 0, 1 and 2 are all ones where taps 0, 1 (TF32: both the lane's one of them)
  // and 2 are inside the line, else zero. Of aligned lines: [0] has the bits of the first row's
  // tap 0 where it is inside, and of 16 bits those of tap 1.
  uint32_t inside[2];
};

// Position in `line` of the run of a warp's tile.
__device__ __forceinline__ int first_of_run(const GatherParams& p, int warp, int tile, int line) {
  return (tile * kGatherGroups * 4 + warp - line * p.runs) * kGatherRun;
}

template <typename T, bool kAligned>
__device__ __forceinline__ GatherRows gather_rows(const GatherParams& p, int tile) {
  constexpr int kBytes = sizeof(T);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  GatherRows rows;
  rows.line = (tile * kGatherGroups * 4 + warp) / p.runs;
  const int first = first_of_run(p, warp, tile, rows.line);
  if (rows.line >= p.lines) rows.line = -1;
  const int row = first + lane / 4 * (kAligned ? 2 : 1);
  const int own = kBytes == 4 ? lane % 2 : 0;
  const int tap = kAligned ? 0 : own - p.padding[2];
  rows.at = (kAligned ? 0 : kGatherLead) + kGatherStride * max(rows.line, 0) * p.line_bytes +
            kBytes * (kGatherStride * row + tap);
  if constexpr (kAligned) {
    rows.at += lane % 4 * p.pitch;
    rows.inside[0] = row > 0 ? ~0u : kBytes == 2 ? 0xFFFF0000u : 0u;
    rows.inside[1] = 0;
  } else {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int element = kGatherStride * (row + 8 * i) - p.padding[2];
      const auto inside = [&](int tap, uint32_t bits) {
        const bool in =
            static_cast<unsigned>(element + tap) < static_cast<unsigned>(p.source_extent[2]);
        return in ? bits : 0u;
      };
      const bool pairs = kBytes == 2;
      rows.inside[i] =
          inside(pairs ? 0 : own, 0xFF) | inside(pairs ? 1 : own, 0xFF00) | inside(2, 0xFF0000);
    }
  }
  return rows;
}

// Of the channels that a lane reads, of 16 bits quad and quad + 4, of TF32 quad / 2, quad / 2 + 2
// and quad: bytes from a stage's start to where their runs of bytes begin, and from there to the
// channels 8 (TF32: 4) on.
struct GatherShifts {
  int at[3], step[3];
};

template <typename T>
__device__ __forceinline__ GatherShifts gather_shifts(const GatherParams& p, const GatherWalk& walk,
                                                      int u) {
  constexpr uint32_t kBytes = sizeof(T), kVector = kGatherLead / kBytes;
  const auto& s = p.source_stride;
  const auto low = [](int64_t stride) { return static_cast<uint32_t>(stride); };
  const uint32_t first = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(p.source)) / kBytes +
                         walk.item * low(s[0]) + (u - p.padding[0]) * low(s[2]) +
                         walk.first_source(p) * low(s[3]);
  const int quad = threadIdx.x % 4;
  const int of_lane[3] = {kBytes == 2 ? quad : quad / 2, kBytes == 2 ? quad + 4 : quad / 2 + 2,
                          quad};
  const auto run = [&](int channel) {
    const uint32_t elements = (first + channel * low(s[1])) % kVector;
    return channel * p.pitch + static_cast<int>(elements * kBytes);
  };
  GatherShifts shift;
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    shift.at[i] = run(of_lane[i]);
    shift.step[i] = run(of_lane[i] + (kBytes == 2 ? 8 : 4)) - shift.at[i];
  }
  if (kBytes == 4) shift.at[2] += kBytes * 2 - kBytes * (quad % 2);  // tap 2, from the lane's tap
  return shift;
}

// Bits of taps 0 and 1, and of tap 2, that `inside` has.
__device__ __forceinline__ uint32_t first_two(uint32_t inside) {
  return __byte_perm(inside, 0, 0x1100);
}
__device__ __forceinline__ uint32_t third(uint32_t inside) {
  return __byte_perm(inside, 0, 0x2222);
}

// Aligned lines: A of one tap of h, `from` has the rows' place added. `inside`: GatherRows.
template <typename T>
__device__ __forceinline__ void gather_aligned(const GatherParams& p, uint32_t from,
                                               uint32_t inside, uint32_t (&a)[kGatherSteps][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {  // channels quad and quad + 4
    const uint32_t at = from + half * 4 * p.pitch;
    if constexpr (sizeof(T) == 2) {
      uint32_t before[2], here[2][2];
#pragma unroll
      for (int c = 0; c < 2; ++c) {  // and 8 channels on
        before[c] = load_shared(at + c * 8 * p.pitch - 4);
        load_words(here[c], at + c * 8 * p.pitch);
      }
#pragma unroll
      for (int c = 0; c < 2; ++c) {  // the upper half of a word and the lower one of the next
        a[c][2 * half] = __byte_perm(before[c], here[c][0], 0x5432) & inside;
        a[c][2 * half + 1] = __byte_perm(here[c][0], here[c][1], 0x5432);
      }
      a[2][2 * half] = __byte_perm(here[0][0], here[1][0], 0x7632);
      a[2][2 * half + 1] = __byte_perm(here[0][1], here[1][1], 0x7632);
    } else {
      const uint32_t before = load_shared(at - 4);
      uint32_t here[4];
      load_words(here, at);
      a[0][2 * half] = before & inside;  // the copy has rounded them
      a[1][2 * half] = here[0];
      a[2][2 * half] = a[0][2 * half + 1] = here[1];
      a[1][2 * half + 1] = here[2];
      a[2][2 * half + 1] = here[3];
    }
  }
}

// Others: `stage` has the rows' place added, `inside` is zero where the line is outside.
template <typename T>
__device__ __forceinline__ void gather(const GatherParams& p, const GatherRows& rows, int stage,
                                       const GatherShifts& shift, uint32_t inside,
                                       uint32_t (&a)[kGatherSteps][4]) {
  if constexpr (sizeof(T) == 2) {
    const int at = stage + shift.at[0];
    // Where tap 0 begins within a word, the same for all channels and rows of a lane.
    const bool odd = (at & 2) != 0;
    const uint32_t two = odd ? 0x5432 : 0x3210, one = odd ? 0x7632 : 0x5410;
#pragma unroll
    for (int i = 0; i < 2; ++i) {  // rows
      const uint32_t in = rows.inside[i] & inside;
#pragma unroll
      for (int half = 0; half < 2; ++half) {  // channels quad and quad + 4
        const uint32_t from = ((stage + shift.at[half]) & ~3) + 32 * i;
        uint32_t word[2][2];
#pragma unroll
        for (int c = 0; c < 2; ++c) {  // and 8 channels on
          word[c][0] = load_shared(from + c * shift.step[half]);
          word[c][1] = load_shared(from + c * shift.step[half] + 4);
        }
        const int at = 2 * half + i;
        a[0][at] = __byte_perm(word[0][0], word[0][1], two) & first_two(in);
        a[1][at] = __byte_perm(word[1][0], word[1][1], two) & first_two(in);
        a[2][at] = __byte_perm(word[0][1], word[1][1], one) & third(in);
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t in = rows.inside[i] & inside;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = 2 * half + i;
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          const uint32_t from = stage + shift.at[half] + s * shift.step[half] + 64 * i;
          a[s][at] = round_to_tf32(load_shared(from) & first_two(in));
        }
        const uint32_t from = stage + shift.at[2] + half * shift.step[2] + 64 * i;
        a[2][at] = round_to_tf32(load_shared(from) & third(in));
      }
    }
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
