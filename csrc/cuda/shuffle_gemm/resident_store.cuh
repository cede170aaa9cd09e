// SPDX-License-Identifier: BSD-3-Clause
// Where resident_kernel's sums go: a strip's by way of shared memory,
//
//   staging[group of columns][position][column of the group]
//
// in the order of the output, so that a store of up to 16 bytes follows the columns of a group, and
// on from one position to the next where those are neighbours.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/shuffle_gemm/resident_params.h"

namespace convt3d::cuda::shuffle_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ __forceinline__ int64_t load_offset(uint32_t address) {
  int64_t value;
  asm volatile("ld.shared.b64 %0, [%1];" : "=l"(value) : "r"(address) : "memory");
  return value;
}

__device__ __forceinline__ void store_offset(uint32_t address, int64_t value) {
  asm volatile("st.shared.b64 [%0], %1;" ::"r"(address), "l"(value) : "memory");
}

// Added to offsets in bytes, or to pointers: what is negative is nowhere.
inline constexpr int64_t kNowhere = -(int64_t{1} << 62);

// Where the slice's groups start in the output, in bytes, and of each strip one that is nowhere;
// the bias of each column.
template <typename T>
__device__ __forceinline__ void describe_columns(const ResidentParams& p,
                                                 const ResidentStages& shared, int slice,
                                                 int threads) {
  const int taps = p.kernel[0] * p.kernel[1] * p.kernel[2];
  const auto channel_of = [&](int column) {
    return p.taps_inner ? column / taps : column % p.out_channels;
  };
  for (int i = static_cast<int>(threadIdx.x); i < p.strips * (p.groups + 1); i += threads) {
    const int strip = i / (p.groups + 1), group = i - strip * (p.groups + 1);
    const int column = ((slice * p.strips + strip) * p.groups + group) * p.width;
    const int tap = p.taps_inner ? column % taps : column / p.out_channels;
    const int line = tap / p.kernel[2], d = line / p.kernel[1];
    const int64_t offset = channel_of(column) * p.result_stride[1] + d * p.result_stride[2] +
                           (line - d * p.kernel[1]) * p.result_stride[3] +
                           (tap - line * p.kernel[2]) * p.result_stride[4];
    const bool there = group < p.groups && column < p.columns;
    store_offset(shared.groups + 8 * i,
                 there ? offset * static_cast<int64_t>(sizeof(T)) : kNowhere);
  }
  const int used = p.groups * p.width;
  for (int i = static_cast<int>(threadIdx.x); i < p.strips * kResidentColumns; i += threads) {
    const int strip = i / kResidentColumns, n = i % kResidentColumns;
    const int column = (slice * p.strips + strip) * used + n;
    const float bias =
        p.bias != nullptr && n < used && column < p.columns
            ? widen(static_cast<const T*>(p.bias)[channel_of(column) * p.bias_stride])
            : 0.0f;
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(shared.bias + 4 * i), "f"(bias) : "memory");
  }
}

// A position of those of all images.
struct ResidentPosition {
  int n, d, h, w;

  __device__ ResidentPosition(const ResidentParams& p, int position) {
    n = static_cast<int>(p.volume.divide(position));
    w = position - n * static_cast<int>(p.volume.divisor);
    d = static_cast<int>(p.plane.divide(w));
    w -= d * static_cast<int>(p.plane.divisor);
    h = static_cast<int>(p.line.divide(w));
    w -= h * static_cast<int>(p.line.divisor);
  }
};

// Of a row of a tile; negative behind the last of its image.
__device__ __forceinline__ int position_of(const ResidentParams& p, int tile, int row) {
  const int image = static_cast<int>(p.image_tiles.divide(tile));
  const int of_image =
      (tile - image * static_cast<int>(p.image_tiles.divisor)) * kResidentRows + row;
  return of_image < p.image ? image * p.image + of_image : -1;
}

// An access of `bytes` among those of a strip: its group, and the first element's row and column.
struct ResidentAccess {
  int group, row, column;

  __device__ ResidentAccess(const ResidentParams& p, int access, int elements) {
    group = static_cast<int>(p.group_accesses.divide(access));
    const int element = (access - group * static_cast<int>(p.group_accesses.divisor)) * elements;
    row = static_cast<int>(p.group_width.divide(element));
    column = element - row * p.width;
  }
};

// Where this thread's sums go. In staging: of columns 8 * j + {0, 1} the first of its two rows, and
// from that to the second. Its accesses of 16 bytes: where each is staged, where its group's offset
// is among the first strip's, and, of each tile, what its row's pointer is.
template <typename T, bool kRows>
struct ResidentPlaces {
  static constexpr int kCount =
      kResidentRows * kResidentColumns * static_cast<int>(sizeof(T)) / 2048;
  static constexpr int kAddressBits = 18;  // limit: 227 KB
  uint32_t column[kResidentColumns / 8], next_row;
  uint32_t from[kCount], group_at[kCount];
  uint32_t row_at[kCount];  // and, in the bits above those of shared addresses, the column in bytes
  static constexpr bool kKeepsRows = sizeof(T) == 2;  // in registers, where there are enough
  int64_t to[kKeepsRows ? kCount : 1];

  // Rows of 4-byte elements in NCDHW are neighbours (resident_kernel.cuh).
  static __device__ int row_of(int half) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32 % 4;
    return warp * 16 + (!kRows && sizeof(T) == 4 ? lane / 4 * 2 + half : lane / 4 + half * 8);
  }
  __device__ int64_t load_row(int i) const {
    return load_offset(row_at[i] & ((1u << kAddressBits) - 1)) + (row_at[i] >> kAddressBits);
  }
  static __device__ int column_of(int j) { return 8 * j + static_cast<int>(threadIdx.x) % 4 * 2; }

  __device__ ResidentPlaces(const ResidentParams& p, const ResidentStages& shared, int group) {
    const uint32_t staging = shared.staging + group * p.staging_bytes;
#pragma unroll
    for (int j = 0; j < kResidentColumns / 8; ++j) {
      const int n = column_of(j), of = n / p.width;
      column[j] = staging + of * p.group_pitch + (n - of * p.width) * static_cast<int>(sizeof(T)) +
                  row_of(0) * p.row_pitch;
    }
    next_row = (row_of(1) - row_of(0)) * p.row_pitch;
    const int all = p.groups * static_cast<int>(p.group_accesses.divisor);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      // Those behind the last go with group `groups`, which is nowhere.
      const int index = static_cast<int>(threadIdx.x) % 128 + 128 * i;
      const ResidentAccess access(p, index < all ? index : 0, 16 / static_cast<int>(sizeof(T)));
      from[i] = staging + access.group * p.group_pitch + access.row * p.row_pitch +
                access.column * static_cast<int>(sizeof(T));
      group_at[i] = shared.groups + 8 * (index < all ? access.group : p.groups);
      row_at[i] = (shared.rows + group * (kResidentRows * 8) + 8 * access.row) |
                  access.column * static_cast<uint32_t>(sizeof(T)) << kAddressBits;
    }
  }
};

template <typename T>
__device__ __forceinline__ void stage_two(uint32_t address, float first, float second) {
  if constexpr (sizeof(T) == 2) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(pack_pair<T>(first, second))
                 : "memory");
  } else {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(first), "f"(second)
                 : "memory");
  }
}

template <typename T>
__device__ __forceinline__ void stage_one(uint32_t address, float value) {
  if constexpr (sizeof(T) == 2) {
    const T narrowed = narrow<T>(value);
    asm volatile("st.shared.b16 [%0], %1;" ::"r"(address),
                 "h"(*reinterpret_cast<const unsigned short*>(&narrowed))
                 : "memory");
  } else {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
  }
}

// What is staged of a strip, kBytes at a time, 8 or 4. The loads of four accesses are under way
// together.
template <typename T, int kBytes>
__device__ __forceinline__ void store_staged(const ResidentParams& p, uint32_t staging,
                                             uint32_t rows, uint32_t groups) {
  constexpr int kElements = kBytes / sizeof(T), kTogether = 4;
  constexpr int kCount = kResidentRows * kResidentColumns / kElements / 128;
  const int all = p.groups * static_cast<int>(p.group_accesses.divisor);
  const int thread = static_cast<int>(threadIdx.x) % 128;
#pragma unroll 1
  for (int start = 0; start < kCount; start += kTogether) {
    T* to[kTogether];
    uint32_t value[kTogether][kBytes / 4];
    bool there[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int index = thread + 128 * (start + i);
      const ResidentAccess access(p, min(index, all - 1), kElements);
      const int64_t to_row = load_offset(rows + 8 * access.row);
      const int64_t to_group = load_offset(groups + 8 * access.group);
      const uint32_t from = staging + access.group * p.group_pitch + access.row * p.row_pitch +
                            access.column * static_cast<int>(sizeof(T));
      if constexpr (kBytes == 8) {
        load_words(value[i], from);
      } else {
        value[i][0] = load_shared(from);
      }
      const int64_t offset = to_row + to_group + access.column * static_cast<int64_t>(sizeof(T));
      there[i] = index < all && offset > 0;
      to[i] = reinterpret_cast<T*>(offset);
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (!there[i]) continue;
      if constexpr (kBytes == 8) {
        *reinterpret_cast<uint2*>(to[i]) = make_uint2(value[i][0], value[i][1]);
      } else {
        *reinterpret_cast<uint32_t*>(to[i]) = value[i][0];
      }
    }
  }
}

// The same by 16 bytes.
template <typename Places>
__device__ __forceinline__ void store_places(const Places& places, uint32_t first_group) {
  constexpr int kTogether = 4;
#pragma unroll
  for (int start = 0; start < Places::kCount; start += kTogether) {
    int64_t to[kTogether];
    uint4 value[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      to[i] = load_offset(places.group_at[start + i] + first_group) +
              (Places::kKeepsRows ? places.to[Places::kKeepsRows ? start + i : 0]
                                  : places.load_row(start + i));
      asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(value[i].x), "=r"(value[i].y), "=r"(value[i].z), "=r"(value[i].w)
                   : "r"(places.from[start + i])
                   : "memory");
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (to[i] > 0) *reinterpret_cast<uint4*>(to[i]) = value[i];
    }
  }
}

// One strip's sums of a tile, the bias among them. By all threads of a warpgroup.
template <Precision kPrecision, bool kRows>
__device__ __forceinline__ void store_strip(const ResidentParams& p, const ResidentStages& shared,
                                            ResidentPlaces<ElementOf<kPrecision>, kRows>& places,
                                            int group, int strip, int tile,
                                            const float (&sum)[kResidentColumns / 2]) {
  using T = ElementOf<kPrecision>;
  using Places = ResidentPlaces<T, kRows>;
  const auto barrier = [&] { asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory"); };
  const uint32_t rows = shared.rows + group * (kResidentRows * 8);
  barrier();  // what was staged before is stored
  if (strip == 0 && threadIdx.x % 128 < kResidentRows) {
    const int row = static_cast<int>(threadIdx.x) % 128, position = position_of(p, tile, row);
    int64_t pointer = kNowhere;
    if (position >= 0) {
      const ResidentPosition at(p, position);
      pointer = reinterpret_cast<int64_t>(
          static_cast<T*>(p.result) + at.n * p.result_position[0] + at.d * p.result_position[1] +
          at.h * p.result_position[2] + at.w * p.result_position[3]);
    }
    store_offset(rows + 8 * row, pointer);
  }
  if (p.width > 1) {
#pragma unroll
    for (int j = 0; j < kResidentColumns / 8; ++j) {
      stage_two<T>(places.column[j], sum[4 * j], sum[4 * j + 1]);
      stage_two<T>(places.column[j] + places.next_row, sum[4 * j + 2], sum[4 * j + 3]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kResidentColumns / 2; ++i) {
      stage_one<T>(places.column[i / 4] + i / 2 % 2 * places.next_row + i % 2 * p.group_pitch,
                   sum[i]);
    }
  }
  barrier();  // all of the strip, and the rows' pointers, are there
  const uint32_t first_group = strip * (p.groups + 1) * 8;
  if (p.access == 16) {
    if (strip == 0 && Places::kKeepsRows) {
#pragma unroll
      for (int i = 0; i < Places::kCount; ++i) places.to[i] = places.load_row(i);
    }
    store_places(places, first_group);
  } else {
    const uint32_t staging = shared.staging + group * p.staging_bytes;
    const uint32_t groups = shared.groups + first_group;
    if (p.access == 8) {
      store_staged<T, 8>(p, staging, rows, groups);
    } else {
      store_staged<T, 4>(p, staging, rows, groups);
    }
  }
}

#endif

}  // namespace convt3d::cuda::shuffle_gemm
