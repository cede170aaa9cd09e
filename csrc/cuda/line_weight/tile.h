// SPDX-License-Identifier: BSD-3-Clause
// The tiles that are built, and what they need of a line. Used by host and device.
#pragma once

namespace convt3d::cuda::line_weight {

// Along w: stride, taps; of a block: in_channels, and lines of grad_output of each eighth of its
// consumer threads, in eights. A warp's rows of wgmma are its lines times the taps.
struct Tile {
  int stride, taps, columns, groups;
  bool odd = false;  // lines start on any element; else where lead_of() says, of an even width

  constexpr int lines() const { return 8 * 8 * groups; }
  constexpr int slabs() const { return groups * taps / 2; }  // of 64 rows, of a warpgroup
};
// Limit: registers, columns / 2 * slabs sums of a thread. groups * taps is even.
inline constexpr Tile kTiles[] = {
    {1, 1, 64, 4}, {2, 1, 64, 4},  {2, 2, 64, 2},  {2, 2, 128, 2},      {2, 3, 64, 2},
    {2, 4, 64, 1}, {2, 4, 128, 1}, {4, 4, 128, 1}, {2, 1, 64, 2, true}, {2, 3, 64, 2, true}};

// Elements of a line before that of the first position's first tap, modulo 4: where a position's
// words start. Three and four taps at stride 2 start in the middle of a word (odd padding).
constexpr int lead_of(int stride, int taps) { return stride == 2 && taps > 2 ? 3 : 0; }

// Elements that a thread reads for two positions, from the start of their first word on.
constexpr int elements_read(const Tile& tile) {
  if (tile.odd) return tile.taps > 2 ? 8 : 6;
  return lead_of(tile.stride, tile.taps) == 0 ? 2 * tile.stride : 2 * tile.taps;
}

}  // namespace convt3d::cuda::line_weight
