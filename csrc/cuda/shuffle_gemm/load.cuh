// SPDX-License-Identifier: BSD-3-Clause
// One chunk of K of both operands, from global to shared memory.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/shuffle_gemm/params.h"
#include "cuda/shuffle_gemm/tile.h"

namespace convt3d::cuda::shuffle_gemm {

// Elements between the start of source and result and channel 0 of a position; negative behind the
// last position.
struct Row {
  int64_t source, result;
};

__device__ __forceinline__ Row describe_row(const Params& p, int position) {
  if (position >= p.positions) return {-1, -1};
  const uint32_t n = p.image.divide(position);
  uint32_t rest = position - n * p.image.divisor;
  const uint32_t d = p.plane.divide(rest);
  rest -= d * p.plane.divisor;
  const uint32_t h = p.line.divide(rest);
  const uint32_t w = rest - h * p.line.divisor;
  const auto offset = [&](const int64_t(&stride)[4]) {
    return n * stride[0] + d * stride[1] + h * stride[2] + w * stride[3];
  };
  return {offset(p.source_position), offset(p.result_position)};
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

// kCount accesses; target(i) is the shared address of access i, source(i) says what it copies. At
// most kInFlight at a time where they pass through registers.
template <typename T, int kBytes, int kCount, int kInFlight, typename TargetOf, typename SourceOf>
__device__ __forceinline__ void copy_all(TargetOf target, SourceOf source) {
  if constexpr (kBytes >= 4) {
#pragma unroll 4
    for (int i = 0; i < kCount; ++i) {
      const Source<T> access = source(i);
      copy_async<kBytes>(target(i), access.from, access.there ? kBytes : 0);
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
        asm volatile("st.shared.u16 [%0], %1;" ::"r"(target(batch + i)), "h"(held[i]) : "memory");
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

// At channel `first`. offset_of(column) is what leads from `data` to channel 0 of a column,
// negative if there is none.
template <typename T, int kColumns, int kPitch, typename OffsetOf>
__device__ __forceinline__ ChannelCursor<T> begin_channels(const void* data, int access,
                                                           int64_t stride, int first, int channels,
                                                           OffsetOf offset_of) {
  const uint32_t element = thread_index() * (access / static_cast<int>(sizeof(T)));
  const uint32_t row = element / kColumns, column = element % kColumns;
  const int channel = first + static_cast<int>(row);
  const int64_t offset = offset_of(column);
  return {static_cast<const T*>(data) + offset + channel * stride,
          offset < 0 ? 0 : channels - channel,
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
    copy_all<T, kBytes, kRows / kRowStep, loads_in_flight(kThreads)>(
        [&](int i) { return target + cursor->target + i * kRowStep * kPitch; },
        [&](int i) -> Source<T> {
          return {cursor->from + i * kRowStep * stride, i * kRowStep < cursor->channels};
        });
  });
  cursor->from += kRows * stride;
  cursor->channels -= kRows;
}

// What a chunk of K from `first` on of `depth` is in memory, for rows that have K innermost.
struct DepthRange {
  const void* data;
  int access;  // bytes
  int first, depth;
};

// That chunk of kRows rows, [rows][K]. offset_of_depth(k) and offset_of_row(row) add up to what
// leads from `data` to an element; the latter is negative where there is no row.
template <typename T, typename Tile, int kRows, typename DepthOf, typename RowOf>
__device__ __forceinline__ void load_rows(uint32_t target, const DepthRange& range,
                                          DepthOf offset_of_depth, RowOf offset_of_row) {
  constexpr int kPitch = SharedMemory<Tile, sizeof(T), Direction::forward>::kDepthPitch;
  with_access<T>(range.access, [&](auto access) {
    constexpr int kBytes = decltype(access)::kBytes, kElements = kBytes / sizeof(T);
    constexpr int kPerRow = Tile::kChunkBytes / kBytes, kRowStep = Tile::kThreads / kPerRow;
    static_assert(Tile::kThreads % kPerRow == 0 && kRows % kRowStep == 0);
    const uint32_t thread = thread_index();
    const int row = static_cast<int>(thread / kPerRow);
    const int k = range.first + static_cast<int>(thread % kPerRow * kElements);
    const bool there = k < range.depth;
    const T* from = static_cast<const T*>(range.data) + offset_of_depth(k);
    target += row * kPitch + thread % kPerRow * kBytes;
    copy_all<T, kBytes, kRows / kRowStep, loads_in_flight(Tile::kThreads)>(
        [&](int i) { return target + i * kRowStep * kPitch; },
        [&](int i) -> Source<T> {
          const int64_t offset = offset_of_row(row + i * kRowStep);
          return {from + offset, there && offset >= 0};
        });
  });
}

// The chunk's lines of grad_output, [lines][positions][group]: as they lie in memory where
// neighbouring positions do. `lines` and `rows` have the offsets of both; negative: not there.
template <typename T, typename Tile>
__device__ __forceinline__ void load_lines(const Params& p, uint32_t target, const int64_t* lines,
                                           const Row* rows) {
  with_access<T>(p.source_access, [&](auto access) {
    constexpr int kBytes = decltype(access)::kBytes;
    constexpr int kCount = Tile::kM * Tile::kChunkBytes / kBytes / Tile::kThreads;
    constexpr int kLogM = Tile::kM == 256   ? 8
                          : Tile::kM == 128 ? 7
                                            : 6,
                  kLogBytes = kBytes == 16  ? 4
                              : kBytes == 8 ? 3
                              : kBytes == 4 ? 2
                                            : 1;
    static_assert(1 << kLogM == Tile::kM && 1 << kLogBytes == kBytes && kCount > 0);
    const int group_log = p.group_log, log = kLogM + group_log - kLogBytes;  // accesses of a line
    const uint32_t pitch = (Tile::kM + 8) << group_log;
    const uint32_t thread = thread_index();
    const auto line_of = [&](int i) { return (thread + i * Tile::kThreads) >> log; };
    const auto byte_of = [&](int i) {
      return ((thread + i * Tile::kThreads) & ((1u << log) - 1)) * kBytes;
    };
    copy_all<T, kBytes, kCount, 8>(  // with more in flight registers spill on 8.0
        [&](int i) { return target + line_of(i) * pitch + byte_of(i); },
        [&](int i) -> Source<T> {
          const uint32_t at = byte_of(i);
          const int64_t line = lines[line_of(i)], row = rows[at >> group_log].source;
          const uint32_t tap = (at & ((1u << group_log) - 1)) / static_cast<uint32_t>(sizeof(T));
          return {static_cast<const T*>(p.source) + line + row + tap * p.source_stride[4],
                  line >= 0 && row >= 0};
        });
  });
}

}  // namespace convt3d::cuda::shuffle_gemm
