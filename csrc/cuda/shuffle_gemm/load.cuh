// SPDX-License-Identifier: BSD-3-Clause
// One chunk of K of both operands, from global to shared memory.
#pragma once
#include "cuda/common/cp_async.cuh"
#include "cuda/shuffle_gemm/params.h"
#include "cuda/shuffle_gemm/tile.h"

namespace convt3d::cuda::shuffle_gemm {

// Elements between the start of input and output and channel 0 of a position; negative behind the
// last position.
struct Row {
  int64_t input, output;
};

__device__ __forceinline__ Row describe_row(const Params& p, int position) {
  if (position >= p.positions) return {-1, -1};
  const uint32_t n = p.image.divide(position);
  uint32_t rest = position - n * p.image.divisor;
  const uint32_t d = p.plane.divide(rest);
  rest -= d * p.plane.divisor;
  const uint32_t h = p.line.divide(rest);
  const uint32_t w = rest - h * p.line.divisor;
  return {
      n * p.input_stride[0] + d * p.input_stride[2] + h * p.input_stride[3] + w * p.input_stride[4],
      n * p.output_stride[0] + d * p.kernel[0] * p.output_stride[2] +
          h * p.kernel[1] * p.output_stride[3] + w * p.kernel[2] * p.output_stride[4]};
}

template <int kBytes_>
struct Access {
  static constexpr int kBytes = kBytes_;
};

// Calls body with the access as a type: Access<bytes>.
template <typename T, typename Body>
__device__ __forceinline__ void with_access(int bytes, Body body) {
  if (bytes == 16) {
    body(Access<16>{});
  } else if (bytes == 8) {
    body(Access<8>{});
  } else if (bytes == 4) {
    body(Access<4>{});
  } else if constexpr (sizeof(T) == 2) {
    body(Access<2>{});
  }
}

template <typename T>
struct Source {
  const T* from;
  bool there;  // else zeros, and nothing is read
};

// kCount accesses, to shared addresses kStep bytes apart; source(i) says what access i copies. At
// most kInFlight at a time where they pass through registers.
template <typename T, int kBytes, int kCount, int kStep, int kInFlight, typename SourceOf>
__device__ __forceinline__ void copy_all(uint32_t target, SourceOf source) {
  if constexpr (kBytes >= 4) {
#pragma unroll 4
    for (int i = 0; i < kCount; ++i) {
      const Source<T> access = source(i);
      copy_or_zero_async<kBytes>(target + i * kStep, access.from, access.there);
    }
  } else {
    // cp.async has no 2-byte form: several loads in flight, then their stores.
    constexpr int kBatch = kCount < kInFlight ? kCount : kInFlight;
    static_assert(kCount % kBatch == 0);
#pragma unroll 1
    for (int batch = 0; batch < kCount; batch += kBatch) {
      unsigned short held[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const Source<T> access = source(batch + i);
        held[i] = access.there ? __ldg(reinterpret_cast<const unsigned short*>(access.from)) : 0;
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        asm volatile("st.shared.u16 [%0], %1;" ::"r"(target + (batch + i) * kStep), "h"(held[i])
                     : "memory");
      }
    }
  }
}

// The thread's index, read anew: else the compiler keeps what follows from it in registers, for
// each width of access, all through the main loop.
__device__ __forceinline__ uint32_t thread_index() {
  uint32_t thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

// Where a thread is in rows of channels, [channels][kColumns]: it keeps to one column.
template <typename T>
struct ChannelCursor {
  const T* from;    // the thread's first access of the next chunk
  int channels;     // how many there are from there on; none in a column that is not there
  uint32_t target;  // bytes into the chunk
};

// offset_of(column) is what leads from `data` to channel 0 of a column, negative if there is none.
template <typename T, int kColumns, int kPitch, typename OffsetOf>
__device__ __forceinline__ ChannelCursor<T> begin_channels(const void* data, int access,
                                                           int64_t stride, int channels,
                                                           OffsetOf offset_of) {
  const uint32_t element = thread_index() * (access / static_cast<int>(sizeof(T)));
  const uint32_t row = element / kColumns, column = element % kColumns;
  const int64_t offset = offset_of(column);
  return {static_cast<const T*>(data) + offset + row * stride,
          offset < 0 ? 0 : channels - static_cast<int>(row),
          row * kPitch + column * static_cast<uint32_t>(sizeof(T))};
}

// The next kRows channels.
template <typename T, int kRows, int kColumns, int kPitch, int kThreads>
__device__ __forceinline__ void load_channels(ChannelCursor<T>* cursor, uint32_t target,
                                              int access_bytes, int64_t stride) {
  with_access<T>(access_bytes, [&](auto access) {
    constexpr int kBytes = decltype(access)::kBytes;
    constexpr int kRowStep = kThreads * (kBytes / static_cast<int>(sizeof(T))) / kColumns;
    static_assert(kRowStep > 0 && kRows % kRowStep == 0);
    copy_all<T, kBytes, kRows / kRowStep, kRowStep * kPitch, loads_in_flight(kThreads)>(
        target + cursor->target, [&](int i) -> Source<T> {
          return {cursor->from + i * kRowStep * stride, i * kRowStep < cursor->channels};
        });
  });
  cursor->from += kRows * stride;
  cursor->channels -= kRows;
}

// Channels `channel` .. of the positions of a tile, [positions][channels].
template <typename T, typename Tile>
__device__ __forceinline__ void load_positions(const Params& p, uint32_t target, int channel,
                                               const Row* rows) {
  using Shared = SharedMemory<Tile, sizeof(T)>;
  with_access<T>(p.input_access, [&](auto access) {
    constexpr int kBytes = decltype(access)::kBytes, kElements = kBytes / sizeof(T);
    constexpr int kPerRow = Shared::kChunk / kElements, kRowStep = Tile::kThreads / kPerRow;
    static_assert(Tile::kThreads % kPerRow == 0 && Tile::kM % kRowStep == 0);
    const uint32_t thread = thread_index();
    const int row = static_cast<int>(thread / kPerRow);
    const int column = channel + static_cast<int>(thread % kPerRow * kElements);
    const bool there = column < p.channels;
    const T* from = static_cast<const T*>(p.input) + column * p.input_stride[1];
    copy_all<T, kBytes, Tile::kM / kRowStep, kRowStep * Shared::kChannelsPitch,
             loads_in_flight(Tile::kThreads)>(
        target + row * Shared::kChannelsPitch + thread % kPerRow * kBytes, [&](int i) -> Source<T> {
          const int64_t offset = rows[row + i * kRowStep].input;
          return {from + offset, there && offset >= 0};
        });
  });
}

}  // namespace convt3d::cuda::shuffle_gemm
