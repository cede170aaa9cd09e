// SPDX-License-Identifier: BSD-3-Clause
// A chunk of positions into a stage, zeros beyond the last position and the last channel. Rows of
// channels:
//
//   input        position k                   -> row k
//   grad_output  position k, tap of the column -> row k, zeros where the tap lies outside
//
// Lines, of layers whose taps do not overlap:
//
//   input        channel, positions            -> row of the channel
//   grad_output  channel, taps of d and h: positions with their taps of w, which lie between each
//                other in memory               -> row of channel and taps
//
// Pieces are as large as alignment and the length of a line allow. Of two bytes they go through
// registers.
#pragma once
#include "cuda/cluster_weight/params.h"
#include "cuda/cluster_weight/tile.h"
#include "cuda/common/shared_memory.cuh"

namespace convt3d::cuda::cluster_weight {

// Barriers of a role's threads; 0 is that of __syncthreads().
inline constexpr int kLoadBarrier = 1, kSumBarrier = 2;
template <int kId, int kCount>
__device__ __forceinline__ void sync_threads() {
  asm volatile("bar.sync %0, %1;" ::"n"(kId), "n"(kCount) : "memory");
}

// What a block sums.
struct Job {
  int first_in, first_column, first_position, end_position, rank;

  __device__ __forceinline__ Job(const Params& p, int rows) {
    int rest = static_cast<int>(blockIdx.x);
    rank = divide(&rest, p.blocks);
    first_column = divide(&rest, p.column_tiles) * kColumns;
    first_in = rest * rows;
    first_position = rank * p.split_positions;
    end_position = min(first_position + p.split_positions, p.positions);
  }

  __device__ __forceinline__ int chunks(int positions) const {
    return (end_position - first_position + positions - 1) / positions;
  }
};

template <typename T>
struct Piece {
  const T* from;
  uint32_t to;
  bool there;
};

// Pieces 0 .. kPasses - 1 of a thread.
template <int kBytes, int kPasses, typename Place>
__device__ __forceinline__ void copy_pieces(const Place& place) {
  if constexpr (kBytes >= 4) {
#pragma unroll 4  // limit: registers
    for (int pass = 0; pass < kPasses; ++pass) {
      const auto piece = place(pass);
      copy_async<kBytes>(piece.to, piece.from, piece.there ? kBytes : 0);
    }
  } else {
    constexpr int kAtOnce = 8;  // loads in flight; limit: registers
    static_assert(kPasses % kAtOnce == 0);
#pragma unroll 1
    for (int first = 0; first < kPasses; first += kAtOnce) {
      unsigned short value[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const auto piece = place(first + i);
        value[i] = piece.there ? __ldg(reinterpret_cast<const unsigned short*>(piece.from)) : 0;
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        asm volatile("st.shared.u16 [%0], %1;" ::"r"(place(first + i).to), "h"(value[i])
                     : "memory");
      }
    }
  }
}

// Among the threads that load.
__device__ __forceinline__ int load_thread() { return static_cast<int>(threadIdx.x) - kSumThreads; }

// A thread has one piece of a row, in every kPass-th row.
template <int kRowBytes, int kRows, int kBytes>
struct Passes {
  static constexpr int kRowPieces = kRowBytes / kBytes;
  static constexpr int kPass = kLoadThreads / kRowPieces, kCount = kRows / kPass;
  static_assert(kRowPieces <= kLoadThreads && kRows % kPass == 0);
  int element, row;  // the first of the row that the piece has, and the first row

  __device__ __forceinline__ explicit Passes(int element_bytes)
      : element(load_thread() % kRowPieces * (kBytes / element_bytes)),
        row(load_thread() / kRowPieces) {}
};

template <typename Tile, int kBytes>
__device__ __forceinline__ void load_input(const Params& p, const Job& job, int first,
                                           uint32_t to) {
  using T = typename Tile::T;
  const T* const input = static_cast<const T*>(p.input);
  if constexpr (Tile::kLines) {
    using Row = Passes<Tile::kChunk * Tile::kElement, Tile::kM, kBytes>;
    const Row at(Tile::kElement);
    int image = first + at.element;
    const bool inside = image < job.end_position;
    const int position = divide(&image, p.volume);
    const T* const from =
        input + (int64_t{image} * p.in_channels + job.first_in) * p.volume.value + position;
    copy_pieces<kBytes, Row::kCount>([&](int pass) {
      const int row = at.row + pass * Row::kPass;
      return Piece<T>{from + int64_t{row} * p.volume.value,
                      to + row * Tile::kInputPitch + at.element * Tile::kElement,
                      inside && job.first_in + row < p.in_channels};
    });
  } else {
    using Row = Passes<Tile::kM * Tile::kElement, Tile::kChunk, kBytes>;
    const Row at(Tile::kElement);
    const bool inside = job.first_in + at.element < p.in_channels;
    const T* const from = input + job.first_in + at.element;
    copy_pieces<kBytes, Row::kCount>([&](int pass) {
      const int row = at.row + pass * Row::kPass;
      return Piece<T>{from + int64_t{first + row} * p.in_channels,
                      to + row * Tile::kInputPitch + at.element * Tile::kElement,
                      inside && first + row < job.end_position};
    });
  }
}

// Lines: from where a line of columns begins, of the first image and the first position. `table`
// is filled before the first load.
template <typename Tile>
__device__ __forceinline__ void fill_lines(const Params& p, const Job& job, int* table) {
  if constexpr (Tile::kLines) {
    for (int i = load_thread(); i < kColumns / Tile::kTaps; i += kLoadThreads) {
      int line = job.first_column / Tile::kTaps + i;
      const int h = divide(&line, p.kernel_h);
      const int channel = line / p.stride[0], d = line - channel * p.stride[0];
      // Unsigned: lines beyond the last are not read, but may be beyond 2**31.
      const unsigned plane = static_cast<unsigned>(channel) * p.extent[0] + d;
      table[i] = static_cast<int>((plane * p.extent[1] + h) * p.extent[2]);
    }
    sync_threads<kLoadBarrier, kLoadThreads>();  // the table is there
  }
}

template <typename Tile, int kBytes>
__device__ __forceinline__ void load_output(const Params& p, const Job& job, int first,
                                            const int* table, uint32_t to) {
  using T = typename Tile::T;
  const T* const output = static_cast<const T*>(p.output);
  if constexpr (Tile::kLines) {
    using Row = Passes<Tile::kChunk * Tile::kTaps * Tile::kElement, kColumns / Tile::kTaps, kBytes>;
    const Row at(Tile::kElement);
    int n = first + at.element / Tile::kTaps;
    const bool inside = n < job.end_position;
    const int w = divide(&n, p.width), h = divide(&n, p.height), d = divide(&n, p.depth);
    const T* const from = output + int64_t{n} * p.image +
                          ((d * p.stride[0]) * p.extent[1] + h * p.stride[1]) * p.extent[2] +
                          w * Tile::kTaps + at.element % Tile::kTaps;
    const int lines = (p.columns - job.first_column) / Tile::kTaps;
    copy_pieces<kBytes, Row::kCount>([&](int pass) {
      const int row = at.row + pass * Row::kPass;
      return Piece<T>{from + table[row],
                      to + row * Tile::kOutputPitch + at.element * Tile::kElement,
                      inside && row < lines};
    });
  } else {
    using Row = Passes<kColumns * Tile::kElement, Tile::kChunk, kBytes>;
    const Row at(Tile::kElement);
    int tap = job.first_column + at.element;
    const bool inside = tap < p.columns;
    const int channel = divide(&tap, p.out_channels);
    int tap_d = tap;
    const int tap_w = divide(&tap_d, p.kernel_w) * p.dilation[2] - p.padding[2];
    const int tap_h = divide(&tap_d, p.kernel_h) * p.dilation[1] - p.padding[1];
    tap_d = tap_d * p.dilation[0] - p.padding[0];
    copy_pieces<kBytes, Row::kCount>([&](int pass) {
      const int row = at.row + pass * Row::kPass;
      int n = first + row;
      const bool there = inside && n < job.end_position;
      const int w = divide(&n, p.width) * p.stride[2] + tap_w;
      const int h = divide(&n, p.height) * p.stride[1] + tap_h;
      const int d = divide(&n, p.depth) * p.stride[0] + tap_d;
      const bool hit = static_cast<unsigned>(w) < static_cast<unsigned>(p.extent[2]) &&
                       static_cast<unsigned>(h) < static_cast<unsigned>(p.extent[1]) &&
                       static_cast<unsigned>(d) < static_cast<unsigned>(p.extent[0]);
      // Unsigned: what is not there may be beyond 2**31.
      const unsigned plane = static_cast<unsigned>(n) * p.extent[0] + d;
      const unsigned position = (plane * p.extent[1] + h) * p.extent[2] + w;
      return Piece<T>{output + (position * p.out_channels.value + channel),
                      to + row * Tile::kOutputPitch + at.element * Tile::kElement, there && hit};
    });
  }
}

// The pieces that a tile is built for.
template <typename Tile, typename Body>
__device__ __forceinline__ void with_piece(int piece, const Body& body) {
  if (piece == 16) return body.template operator()<16>();
  if constexpr (Tile::kLines) {
    if (piece == 8) return body.template operator()<8>();
    if constexpr (Tile::kElement < 4) {
      if (piece == 4) return body.template operator()<4>();
    }
  }
  if constexpr (Tile::kSingle) body.template operator()<Tile::kElement>();
}

// A chunk of positions from `first` on.
template <typename Tile>
__device__ __forceinline__ void load_chunk(const Params& p, const Job& job, int first,
                                           const int* table, uint32_t to) {
  with_piece<Tile>(p.input_piece,
                   [&]<int kBytes>() { load_input<Tile, kBytes>(p, job, first, to); });
  with_piece<Tile>(p.output_piece, [&]<int kBytes>() {
    load_output<Tile, kBytes>(p, job, first, table, to + Tile::kOutputAt);
  });
}

}  // namespace convt3d::cuda::cluster_weight
