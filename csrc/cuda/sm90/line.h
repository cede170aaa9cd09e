// SPDX-License-Identifier: BSD-3-Clause
// The lines of tile_pack.h, in plain C++.
#pragma once

namespace convt3d::cuda::sm90 {

// Positions of a line, and its bytes.
inline constexpr int kChunk = 32, kLineBytes = 4 * kChunk;

// Order of the positions in a line: as they are; or, eight by eight, those first that a thread's
// first words are of, so that four threads' rows of 128 (64) bytes lie in different banks; or so
// that a thread has eight that follow each other (runs).
enum class Order { plain, rows_128, rows_64, runs };

constexpr int position_in_line(Order order, int place) {
  if (order == Order::plain) return place;
  if (order == Order::runs) return place % 4 * 8 + place / 8 * 2 + place / 4 % 2;
  const int of_eight = place % 8, of_four = of_eight % 4, half = of_eight / 4;
  const int moved =
      order == Order::rows_128 ? of_four * 2 + half : of_four % 2 + of_four / 2 * 4 + half * 2;
  return place - of_eight + moved;
}

}  // namespace convt3d::cuda::sm90
