// SPDX-License-Identifier: BSD-3-Clause
// The input that a tile's taps read, to shared memory: [part][chunk of in channels][place], zeros
// outside the tensor. NCDHW is turned into chunks on the way.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/group_gemm/params.cuh"

namespace convt3d::cuda::group_gemm {

// Has bits of kSigns set where a word of input, of one or two elements, holds a special one. In 16
// bits that is NaN or Inf, in TF32 also what rounds to infinity: a sum of exponents reaches the
// sign. In float32 it is also what may lead to an infinity before the sum does, in a product of the
// parts that numbers are split into, or what is so small that its low part may be lost.
constexpr unsigned kSigns = 0x80008000u;

template <Precision kPrecision>
__device__ __forceinline__ unsigned special(unsigned word) {
  if constexpr (kPrecision == Precision::fp16) {
    return (word & 0x7c007c00u) + 0x04000400u;
  } else if constexpr (kPrecision == Precision::bf16) {
    return (word & 0x7f807f80u) + 0x00800080u;
  } else if constexpr (kPrecision == Precision::tf32) {
    return (word & 0x7f800000u) + 0x01000000u;
  } else {
    const unsigned magnitude = word & 0x7fffffffu;
    return magnitude >= kLargeBits || magnitude - 1 < kSmallBits - 1 ? kSigns : 0u;
  }
}

// The first place of the halo in the input.
struct Corner {
  int d, h, w;
  const char* item;
};

__device__ __forceinline__ Corner find_corner(const GroupGemm& p, const Box& box) {
  return {box.first[0] - p.reach[0], box.first[1] - p.reach[1], p.first_cell[2] - p.reach[2],
          static_cast<const char*>(p.input) + box.n * p.input_bytes[0]};
}

// A line of the halo, or null.
__device__ __forceinline__ const char* find_line(const GroupGemm& p, const Corner& corner,
                                                 int line) {
  const int h = corner.h + divide(&line, p.by_halo[1]), d = corner.d + line;
  if (!within(h, p.input_extent[1]) || !within(d, p.input_extent[0])) return nullptr;
  return corner.item + d * p.input_bytes[2] + h * p.input_bytes[3];
}

template <typename T>
__device__ __forceinline__ void load_rows(const GroupGemm& p, const Corner& corner, int first_part,
                                          uint4* halo) {
  const int chunks = min(p.block_parts, p.parts - first_part) * p.in_chunks;
  const int count = p.halo[0] * p.halo[1] * p.halo[2] * p.block_parts * p.in_chunks;
#pragma unroll 2
  for (int at = threadIdx.x; at < count; at += kThreads) {
    int place = at;
    const int own = divide(&place, p.by_chunks);
    if (own >= chunks) continue;
    int line = place, part = own;
    const int chunk = divide(&part, p.by_in_chunks);
    const int w = corner.w + divide(&line, p.by_halo_w);
    const char* const source = find_line(p, corner, line);
    const bool there = source != nullptr && within(w, p.input_extent[2]);
    const int channel = find_part(p, first_part + part).first_in + chunk * kChunk<T>;
    copy_async<16>(shared_address(halo + own * p.plane + place),
                   there ? source + w * p.input_bytes[4] + channel * int{sizeof(T)} : corner.item,
                   there ? 16 : 0);
  }
}

// 16 bits: two positions on w of eight channels, from 32-bit loads: W is even, so both are inside
// or none.
template <Precision kPrecision>
__device__ __forceinline__ unsigned load_pairs(const GroupGemm& p, const Corner& corner,
                                               const char* channels, int there, uint4* halo) {
  unsigned bits = 0;
  const int first_w = corner.w & ~1;
  const int count = p.halo[0] * p.halo[1] * p.pair_columns;
#pragma unroll 1
  for (int at = threadIdx.x; at < count; at += kThreads) {
    int line = at;
    const int w = first_w + divide(&line, p.by_pair_columns) * 2;
    const char* source = find_line(p, corner, line);
    const bool inside = source != nullptr && within(w, p.input_extent[2]);
    source += channels - corner.item + int64_t{w} * 2;
    unsigned two[8];
#pragma unroll
    for (int i = 0; i < 8; ++i, source += p.input_bytes[1]) {
      two[i] = inside && i < there ? *reinterpret_cast<const unsigned*>(source) : 0u;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) bits |= special<kPrecision>(two[i]);
    uint4 chunk[2];
    chunk[0] = make_uint4(__byte_perm(two[0], two[1], 0x5410), __byte_perm(two[2], two[3], 0x5410),
                          __byte_perm(two[4], two[5], 0x5410), __byte_perm(two[6], two[7], 0x5410));
    chunk[1] = make_uint4(__byte_perm(two[0], two[1], 0x7632), __byte_perm(two[2], two[3], 0x7632),
                          __byte_perm(two[4], two[5], 0x7632), __byte_perm(two[6], two[7], 0x7632));
    const int column = w - corner.w;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (within(column + i, p.halo[2])) halo[line * p.halo[2] + column + i] = chunk[i];
    }
  }
  return bits;
}

template <Precision kPrecision>
__device__ __forceinline__ unsigned load_single(const GroupGemm& p, const Corner& corner,
                                                const char* channels, int there, uint4* halo) {
  using T = ElementOf<kPrecision>;
  constexpr int kUnroll = sizeof(T) == 2 ? 1 : 2;  // eight loads in flight
  unsigned bits = 0;
  const int count = p.halo[0] * p.halo[1] * p.halo[2];
#pragma unroll kUnroll
  for (int at = threadIdx.x; at < count; at += kThreads) {
    int line = at;
    const int w = corner.w + divide(&line, p.by_halo_w);
    const char* source = find_line(p, corner, line);
    const bool inside = source != nullptr && within(w, p.input_extent[2]);
    source += channels - corner.item + w * p.input_bytes[4];
    Bits<T> own[kChunk<T>];
#pragma unroll
    for (int i = 0; i < kChunk<T>; ++i, source += p.input_bytes[1]) {
      own[i] = inside && i < there ? *reinterpret_cast<const Bits<T>*>(source) : Bits<T>{0};
    }
    unsigned word[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(T) == 2) {
        word[i] = own[2 * i] | static_cast<unsigned>(own[2 * i + 1]) << 16;
      } else {
        word[i] = own[i];
      }
      bits |= special<kPrecision>(word[i]);
    }
    halo[at] = make_uint4(word[0], word[1], word[2], word[3]);
  }
  return bits;
}

// Starts, or does, the loads of a box. Has kSigns set where a thread has seen a special element;
// not for Load::rows, which see_special looks through.
template <Precision kPrecision>
__device__ __forceinline__ unsigned load_box(const GroupGemm& p, const Box& box, int first_part,
                                             uint4* halo) {
  using T = ElementOf<kPrecision>;
  const Corner corner = find_corner(p, box);
  unsigned bits = 0;
  if (p.load == Load::rows) {
    load_rows<T>(p, corner, first_part, halo);
    copies_commit();
    return 0;
  }
#pragma unroll 1
  for (int own = 0; own < p.block_parts * p.in_chunks; ++own) {
    int part_index = own;
    const int chunk = divide(&part_index, p.by_in_chunks);
    if (first_part + part_index >= p.parts) break;
    const Part part = find_part(p, first_part + part_index);
    const int first = chunk * kChunk<T>, there = part.ins - first;
    const char* const channels = corner.item + (part.first_in + first) * p.input_bytes[1];
    uint4* const target = halo + own * p.plane;
    if constexpr (sizeof(T) == 2) {
      if (p.load == Load::pairs) {
        bits |= load_pairs<kPrecision>(p, corner, channels, there, target);
        continue;
      }
    }
    bits |= load_single<kPrecision>(p, corner, channels, there, target);
  }
  return bits;
}

template <Precision kPrecision>
__device__ __forceinline__ unsigned see_special(const GroupGemm& p, const uint4* halo) {
  unsigned bits = 0;
  for (int at = threadIdx.x; at < p.block_parts * p.in_chunks * p.plane; at += kThreads) {
    const uint4 own = halo[at];
    bits |= special<kPrecision>(own.x) | special<kPrecision>(own.y) | special<kPrecision>(own.z) |
            special<kPrecision>(own.w);
  }
  return bits;
}

}  // namespace convt3d::cuda::group_gemm
