// SPDX-License-Identifier: BSD-3-Clause
// The sums of paired_kernel.cuh to NCDHW, straight from registers. A lane has four outputs of a
// line at a time, both residues of two positions, the four lanes of a quad sixteen:
//
//   quad 0          quad 1          quad 2          quad 3
//   a b c d         a b c d         a b c d         a b c d      registers
//   |. . . .|. . . .|. . . .|. . . .|. . . .|                    pieces of memory, 4 elements
//         ^ where a line begins behind a piece's start, a lane stores the piece that its first
//           output lies in, with the last ones of the lane before it; what begins or ends a
//           line, or the tile, is stored one by one
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/halo_gemm/fused_lines.cuh"
#include "cuda/halo_gemm/paired_params.cuh"

namespace convt3d::cuda::halo_gemm {

// Four outputs as words.
template <typename T>
struct Four {
  static constexpr int kWords = sizeof(T);
  uint32_t word[kWords];
};

// Where the first of two positions' outputs is, in bytes, without channel; and in the upper half of
// the second word how many outputs there are (0 to 4), whether a line or the tile begins or ends
// with them, and how many are in front of the line (0 or 1; PairedConfig::lead). Where all is
// aligned, without these, and negative if there is no output.
struct PairedPlace {
  int64_t offset;
  int outputs, front;
  bool begins, ends;

  static constexpr uint32_t kBegins = 1 << 19, kEnds = 1 << 20, kFront = 1 << 21;
  static constexpr uint32_t kNone = 1u << 31;

  __device__ explicit PairedPlace(uint32_t address) {
    uint32_t word[2];
    load_words(word, address);
    offset = static_cast<int64_t>(uint64_t{word[1] & 0xffff} << 32 | word[0]);
    outputs = word[1] >> 16 & 7;
    begins = word[1] & kBegins;
    ends = word[1] & kEnds;
    front = word[1] / kFront & 1;
  }
};

// The places of a warpgroup's positions, by all of its threads; behind them a word of each warp,
// bit 4 i: whether the eight columns 8 i have neighbours of one line only, and so has the lane
// before.
template <int kColumns, int kBytes>
__device__ __forceinline__ void list_places(const Params& p, const PairedParams& q,
                                            const Unit& unit, uint32_t table) {
  const int group = threadIdx.x / 128, pair = threadIdx.x % 128;
  sync_warpgroup();  // all have read those of the unit before -> written
  int n = unit.first + group * kColumns + 2 * pair;
  const int x = divide(&n, q.pitch), h = divide(&n, q.lines), d = divide(&n, q.planes);
  const Residue &of_d = unit.axis(p, 0), &of_h = unit.axis(p, 1);
  const int w = unit.strip * p.strip + x;
  const bool there = n < p.batch && d < of_d.num_outputs && h < of_h.num_outputs && x < p.strip;
  const int first = 2 * w - q.lead;
  const int outputs = there ? max(0, min(min(q.outputs - first, 2 * (p.strip - x)), 4)) : 0;
  const bool begins = x == 0 || pair == 0;
  const bool ends = pair == kColumns / 2 - 1 || x + 2 >= p.strip || first + 4 >= q.outputs;
  const int64_t offset =
      (n * p.output_stride[0] +
       (of_d.first_output + int64_t{d} * p.axis[0].stride) * p.output_stride[2] +
       (of_h.first_output + int64_t{h} * p.axis[1].stride) * p.output_stride[3] + max(first, 0)) *
      kBytes;
  uint32_t inside = __ballot_sync(~0u, outputs == 4 && !begins && !ends);
  inside &= inside >> 2;
  inside &= inside >> 1;
  if (pair < kColumns / 2) {
    const uint32_t flags = static_cast<uint32_t>(outputs) << 16 |
                           (begins ? PairedPlace::kBegins : 0) | (ends ? PairedPlace::kEnds : 0) |
                           (first < 0 ? PairedPlace::kFront : 0);
    const auto high = static_cast<uint32_t>(offset >> 32);
    const uint32_t aligned = outputs == 0 ? PairedPlace::kNone : high;
    asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(table + pair * kPairedPlaceBytes),
                 "r"(static_cast<uint32_t>(offset)), "r"(q.aligned ? aligned : high | flags)
                 : "memory");
    if (pair % 32 == 0) {
      asm volatile(
          "st.shared.b32 [%0], %1;" ::"r"(table + kPairedPlaces * kPairedPlaceBytes + pair / 8),
          "r"(inside)
          : "memory");
    }
  }
}

template <typename T>
__device__ __forceinline__ Four<T> four_of(float a, float b, float c, float d) {
  if constexpr (sizeof(T) == 4) {
    return {{__float_as_uint(a), __float_as_uint(b), __float_as_uint(c), __float_as_uint(d)}};
  } else {
    return {{pack_pair<T>(a, b), pack_pair<T>(c, d)}};
  }
}

// Those of the lane before in the quad; of the first one the last of `before`, the columns before.
template <typename T>
__device__ __forceinline__ Four<T> of_lane_before(const Four<T>& own, const Four<T>& before) {
  const int lane = threadIdx.x % 32;
  Four<T> result;
#pragma unroll
  for (int i = 0; i < Four<T>::kWords; ++i) {
    const uint32_t given = lane % 4 == 3 ? before.word[i] : own.word[i];
    result.word[i] = __shfl_sync(~0u, given, lane / 4 * 4 + (lane + 3) % 4);
  }
  return result;
}

// Four elements: the last `shift` (0 to 3) of `before`, then the first of `own`.
template <typename T>
__device__ __forceinline__ Four<T> joined(const Four<T>& before, const Four<T>& own, int shift) {
  const auto &b = before.word, &o = own.word;
  Four<T> result;
  if constexpr (sizeof(T) == 4) {
    const bool two = shift & 2, one = shift & 1;
    const uint32_t from[5] = {two ? b[1] : b[3], two ? b[2] : o[0], two ? b[3] : o[1],
                              two ? o[0] : o[2], two ? o[1] : o[3]};
#pragma unroll
    for (int i = 0; i < 4; ++i) result.word[i] = one ? from[i] : from[i + 1];
  } else {
    const bool two = shift & 2;
    const uint32_t from[3] = {two ? b[0] : b[1], two ? b[1] : o[0], two ? o[0] : o[1]};
    const uint32_t bits = shift & 1 ? 16 : 32;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      result.word[i] = __funnelshift_rc(from[i], from[i + 1], bits);
    }
  }
  return result;
}

// Where `there`. To global memory, as the compiler does not know of the pointer: it moves loads
// from shared memory across.
template <typename T>
__device__ __forceinline__ void store_four(bool there, char* to, const Four<T>& four) {
  const auto& word = four.word;
  if constexpr (sizeof(T) == 4) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.s32 p, %5, 0;\n"
        "@p st.global.v4.b32 [%0], {%1, %2, %3, %4};\n}" ::"l"(to),
        "r"(word[0]), "r"(word[1]), "r"(word[2]), "r"(word[3]), "r"(static_cast<int>(there))
        : "memory");
  } else {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.s32 p, %3, 0;\n@p st.global.v2.b32 [%0], {%1, %2};\n}" ::"l"(to),
        "r"(word[0]), "r"(word[1]), "r"(static_cast<int>(there))
        : "memory");
  }
}
template <typename T>
__device__ __forceinline__ void store_one(char* to, const Four<T>& four, int i) {
  if constexpr (sizeof(T) == 4) {
    asm volatile("st.global.b32 [%0], %1;" ::"l"(to + 4 * i), "r"(four.word[i]) : "memory");
  } else {
    const auto half = static_cast<unsigned short>(four.word[i / 2] >> i % 2 * 16);
    asm volatile("st.global.b16 [%0], %1;" ::"l"(to + 2 * i), "h"(half) : "memory");
  }
}

// What a lane stores of 8 columns where lines, or the tile, begin or end.
template <typename T>
__device__ __forceinline__ void store_ends(uint32_t address, char* output, bool there,
                                           const Four<T>& before, const Four<T>& own) {
  const PairedPlace place(address);
  char* const to = output + place.offset - place.front * int{sizeof(T)};
  const int shift = static_cast<int>(reinterpret_cast<uintptr_t>(to) / sizeof(T) % 4);
  const Four<T> piece = joined<T>(before, own, shift);
  char* const start = to - shift * int{sizeof(T)};
  const int outputs = there ? place.outputs : 0;
  const int from = place.begins ? place.front : -shift;
  const int end = place.ends ? outputs : min(outputs, 4 - shift);
  const bool whole = from <= -shift && end >= 4 - shift;
  store_four<T>(whole, start, piece);
  if (outputs == 0 || (whole && !place.ends)) return;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (!whole && i - shift >= from && i - shift < end) store_one<T>(start, piece, i);
    if (place.ends && i >= 4 - shift && i < end) store_one<T>(to, own, i);
  }
}

// NaN where one of four outputs is not finite, or another was before.
__device__ __forceinline__ void watch(const Four<float>& four, float* special) {
#pragma unroll
  for (int i = 0; i < 4; ++i) *special = fmaf(__uint_as_float(four.word[i]), 0.0f, *special);
}
template <typename T, typename Pair>
__device__ __forceinline__ void watch(const Four<T>& four, Pair* special) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    *special = __hfma2(*reinterpret_cast<const Pair*>(&four.word[i]), Pair{}, *special);
  }
}
__device__ __forceinline__ bool is_special(float value) { return isnan(value); }
template <typename Pair>
__device__ __forceinline__ bool is_special(Pair value) {
  return isnan(widen(value.x)) || isnan(widen(value.y));
}
template <typename T>
struct PairOf {
  using type = float;
};
template <>
struct PairOf<__half> {
  using type = __half2;
};
template <>
struct PairOf<__nv_bfloat16> {
  using type = __nv_bfloat162;
};

// `own(j)`: of 8 columns from 8 j on, the outputs of a lane. `output`: of the channel. `table`: of
// the warpgroup's places.
template <typename T, int kColumns, typename Own>
__device__ __forceinline__ void store_channel(const PairedParams& q, uint32_t table, char* output,
                                              bool there, const Own& own) {
  constexpr int kStores = kColumns / 8, kBytes = 16 * sizeof(T);  // of 8 columns
  const uint32_t places = table + threadIdx.x % 4 * kPairedPlaceBytes;
  if (q.aligned) {
#pragma unroll
    for (int j = 0; j < kStores; ++j) {
      uint32_t word[2];
      load_words(word, places + 4 * j * kPairedPlaceBytes);
      const auto offset = static_cast<int64_t>(uint64_t{word[1]} << 32 | word[0]);
      store_four<T>(there && offset >= 0, output + offset, own(j));
    }
    return;
  }
  uint32_t inside[kStores / 8];
#pragma unroll
  for (int i = 0; i < kStores / 8; ++i) {
    // The same in all lanes, which the compiler is to know.
    inside[i] =
        __reduce_or_sync(~0u, load_shared(table + kPairedPlaces * kPairedPlaceBytes + 4 * i));
  }
  const auto is_inside = [&](int j) { return (inside[j / 8] >> j % 8 * 4 & 1) != 0; };
  Four<T> last{};
  char* start = output;  // of the line's pieces, as if column 0 were of it
  int shift = 0;
#pragma unroll
  for (int j = 0; j < kStores; ++j) {
    const Four<T> of = own(j), before = of_lane_before<T>(of, last);
    const uint32_t address = places + 4 * j * kPairedPlaceBytes;
    if (is_inside(j)) {
      if (j == 0 || !is_inside(j - 1)) {
        char* const to = output + PairedPlace(address).offset;
        shift = static_cast<int>(reinterpret_cast<uintptr_t>(to) / sizeof(T) % 4);
        start = to - shift * int{sizeof(T)} - j * kBytes;
      }
      store_four<T>(there, start + j * kBytes, joined<T>(before, of, shift));
    } else {
      store_ends<T>(address, output, there, before, of);
    }
    last = of;
  }
}

}  // namespace convt3d::cuda::halo_gemm
