// SPDX-License-Identifier: BSD-3-Clause
// Who does which units of work, and in which order.
#pragma once
#include "cuda/halo_gemm/params.cuh"

namespace convt3d::cuda::halo_gemm {

// The units of a block, in order; the same for all its roles. kWarp: a whole warp asks, and the
// compiler sees that it has one answer; else it serialises wgmma, C7520.
template <bool kMarching, bool kShared>
class Walk;

__device__ __forceinline__ void set_item(const Params& p, unsigned index, Unit* unit) {
  unit->column_tile = take(&index, p.column_tiles);
  int tile = take(&index, p.tiles) + p.first_tile;
  if (tile >= p.tiles) tile -= p.tiles;
  const int rows = p.warpgroups * kGroupRows;
  unit->first = tile * rows;
  const int plane = unit->first / (p.lines * p.pitch), item = plane / p.planes;
  unit->from_plane = plane - item * p.planes;
  unit->to_plane = (unit->first + rows - 1) / (p.lines * p.pitch) - item * p.planes;
  if (unit->to_plane >= p.planes) {
    if (item < p.batch - 1) unit->from_plane = 0;
    unit->to_plane = p.planes - 1;
  }
  unit->strip = take(&index, p.strips);
  unsigned residue = p.order[index];
  const int w = take(&residue, p.axis[2].stride), h = take(&residue, p.axis[1].stride);
  unit->set(p, static_cast<int>(residue), h, w);
}

// Residues with most taps come first, tiles of one residue are dealt out back and forth: the sums
// of the blocks differ by less than one unit.
template <>
class Walk<false, false> {
 public:
  __device__ Walk(const Params&, const SharedUnit*) {}
  template <bool kWarp>
  __device__ bool next(const Params& p, int round, Unit* unit) {
    const unsigned place = round % 2 == 0 ? blockIdx.x : gridDim.x - 1 - blockIdx.x;
    const unsigned index = round * gridDim.x + place;
    if (index >= p.items) return false;
    set_item(p, index, unit);
    return true;
  }
};

// Where that is too much, items are shared: the work of all of them is one line, item after item,
// that is cut into equal parts, one per block (shared_line.cuh). Whoever comes last adds up an
// item's parts (cuda/sm90/joined_sums.cuh). One thread finds a block's units; its roles read them.
// (In the consumers' loop ptxas serialises wgmma: C7520.)
__device__ __forceinline__ void find_units(const Params& p, SharedUnit* units) {
  const int block = blockIdx.x;
  const LineStart start = p.starts[block], end = p.starts[block + 1];
  for (int item = start.item, from = start.plane; item <= end.item; ++item, from = 0) {
    const int to = item < end.item ? p.item_planes[item / p.residue_items] : end.plane;
    if (from == to) continue;
    // All blocks that have a part of it.
    int first = block, last = block;
    while (p.starts[first].item == item && p.starts[first].plane > 0) --first;
    while (p.starts[last + 1].item == item) ++last;
    *units++ = {item, from, to, {first, last - first + 1}};
  }
  units->item = -1;
}

template <>
class Walk<false, true> {
 public:
  __device__ Walk(const Params&, const SharedUnit* units) : units_(units) {}
  template <bool kWarp>
  __device__ bool next(const Params& p, int round, Unit* unit) {
    const SharedUnit& mine = units_[round];
    if (kWarp ? __any_sync(~0u, mine.item < 0) : mine.item < 0) return false;
    set_item(p, mine.item, unit);
    unit->begin = mine.begin;
    unit->end = mine.end;
    return true;
  }
  // Which blocks have the item of the unit that next() gave.
  __device__ sm90::Part part(int round) const { return units_[round].part; }

 private:
  const SharedUnit* const units_;
};

// All input planes of all residues (with taps) of all tiles are one line, each as long as its taps
// and one more; a block has an equal part of it, which may start and end within a march. Or tiles
// march in segments, and blocks take whole ones in turn, so that neighbours march side by side, and
// lines that follow one another in memory are stored at about the same time:
//
//    segment   0           1          2             of 12 planes in 3 segments
//    tile 0    0 1 2 3     4 5 6 7    8 9 10 11     blocks 0, 3, 6: all residues of these planes
//    tile 1    0 1 2 3     4 5 6 7    8 9 10 11     blocks 1, 4, 7
//    tile 2    0 1 2 3     4 5 6 7    8 9 10 11     blocks 2, 5, 8; the next ones begin again
template <>
class Walk<true, false> {
 public:
  __device__ Walk(const Params& p, const SharedUnit*) {
    if (p.whole_segments) {
      take_segment(p, int64_t{p.segment_cost} * blockIdx.x);
    } else {
      at_ = static_cast<int>(total(p) * blockIdx.x / gridDim.x);
      end_ = static_cast<int>(total(p) * (blockIdx.x + 1) / gridDim.x);
    }
  }
  template <bool kWarp>
  __device__ bool next(const Params& p, int, Unit* unit) {
    for (;;) {
      if (at_ >= end_) {
        if (!p.whole_segments) return false;
        take_segment(p, at_ + int64_t{p.segment_cost} * (gridDim.x - 1));
        if (at_ == end_) return false;
      }
      unsigned segment = at_;
      int rest = take(&segment, p.segment_cost);
      unit->first = take(&segment, p.tiles) * p.warpgroups * kGroupRows;
      unit->strip = take(&segment, p.strips);
      const int first = segment * p.marching_steps / p.segments;
      const int last = (segment + 1) * p.marching_steps / p.segments;
      const int column_cost = p.segment_cost / p.column_tiles;
      unit->column_tile = rest / column_cost;
      rest -= unit->column_tile * column_cost;
      int plane;
      for (int h = 0, w = 0;;) {
        unit->set(p, 0, h, w);
        plane = unit->axis(p, 1).num_taps *
                (p.fused > 1 ? p.axis[2].kernel : unit->axis(p, 2).num_taps);
        plane += plane > 0 ? 1 : 0;
        if (rest < plane * p.segment_planes) break;
        rest -= plane * p.segment_planes;
        if (p.fused > 1 || ++w == p.axis[2].stride) w = 0, ++h;
      }
      const int start = at_ - rest;
      unit->begin = first + (rest + plane - 1) / plane;
      unit->end = min(last, first + (end_ - start + plane - 1) / plane);
      at_ = start + plane * p.segment_planes;
      if (unit->begin < unit->end) return true;
    }
  }

 private:
  __device__ static int64_t total(const Params& p) {
    return int64_t{p.segment_cost} * (p.segments * p.tiles * p.strips);
  }
  __device__ void take_segment(const Params& p, int64_t start) {
    at_ = static_cast<int>(min(start, total(p)));
    end_ = at_ + (start < total(p) ? p.segment_cost : 0);
  }

  int at_, end_;
};

}  // namespace convt3d::cuda::halo_gemm
