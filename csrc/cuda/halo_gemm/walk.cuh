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
// that is cut into equal parts, one per block. A plane and chunk is of the block in whose part it
// begins. Whoever comes last adds up an item's parts (cuda/sm90/joined_sums.cuh). One thread finds
// a block's units; its roles read them. (In the consumers' loop ptxas serialises wgmma: C7520.)
class SharedLine {
 public:
  static __device__ void cut(const Params& p, SharedUnit* units) {
    const int end = start_of(p, blockIdx.x + 1);
    for (int at = start_of(p, blockIdx.x); at < end;) {
      const Item item = item_at(p, at);
      const ItemWork work = p.item_work[item.residue];
      const int stop = min(end, item.start + work.all);
      Unit unit;
      set_item(p, item.index, &unit);
      const int from = planes_before(p, unit, at - item.start);
      const int to = planes_before(p, unit, stop - item.start);
      at = stop;
      if (from >= to) continue;
      const int first = block_at(p, item.start);
      const int parts = block_at(p, item.start + work.all - work.last) - first + 1;
      *units++ = {static_cast<int>(item.index), from, to, {first, parts}};
    }
    units->item = -1;
  }

 private:
  struct Item {
    unsigned index;
    int residue, start;  // the residue's place in the order, the first of its work
  };
  // Of a block's part: work * block / blocks, in 32 bits. No part is shorter than a plane and
  // chunk.
  static __device__ int start_of(const Params& p, int block) {
    const int blocks = gridDim.x, each = p.work / blocks;
    return each * block + (p.work - each * blocks) * block / blocks;
  }
  static __device__ int block_at(const Params& p, int at) {
    const int blocks = gridDim.x;
    int block = min(at / (p.work / blocks), blocks - 1);
    while (start_of(p, block) > at) --block;
    return block;
  }
  static __device__ Item item_at(const Params& p, int at) {
    int residue = 0, start = 0;
    while (at - start >= p.item_work[residue].all * p.residue_items) {
      start += p.item_work[residue].all * p.residue_items;
      ++residue;
    }
    const int item = (at - start) / p.item_work[residue].all;
    return {static_cast<unsigned>(residue * p.residue_items + item), residue,
            start + item * p.item_work[residue].all};
  }
  // Planes and chunks of a unit's item that begin before this much of its work.
  static __device__ int planes_before(const Params& p, Unit unit, int work) {
    int planes = 0;
    for (int left = p.sum_residues;;) {
      if (unit.loads) {
        const int each = unit.axis(p, 1).num_taps * unit.axis(p, 2).num_taps + kPlaneTaps;
        const int number = unit.axis(p, 0).num_taps * p.chunks;
        if (work <= number * each) return planes + (work + each - 1) / each;
        planes += number;
        work -= number * each;
      }
      if (--left == 0) return planes;
      unit.next(p);
    }
  }
};

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
// and one more; a block has an equal part of it, which may start and end within a march.
template <>
class Walk<true, false> {
 public:
  __device__ Walk(const Params& p, const SharedUnit*) {
    const int64_t total = int64_t{p.tile_cost} * (p.tiles * p.strips);
    at_ = static_cast<int>(total * blockIdx.x / gridDim.x);
    end_ = static_cast<int>(total * (blockIdx.x + 1) / gridDim.x);
  }
  template <bool kWarp>
  __device__ bool next(const Params& p, int, Unit* unit) {
    while (at_ < end_) {
      unsigned tile = at_;
      int rest = take(&tile, p.tile_cost);
      unit->first = take(&tile, p.tiles) * p.warpgroups * kGroupRows;
      unit->strip = static_cast<int>(tile);
      const int column_cost = p.tile_cost / p.column_tiles;
      unit->column_tile = rest / column_cost;
      rest -= unit->column_tile * column_cost;
      int plane;
      for (int h = 0, w = 0;;) {
        unit->set(p, 0, h, w);
        plane = unit->axis(p, 1).num_taps *
                (p.fused > 1 ? p.axis[2].kernel : unit->axis(p, 2).num_taps);
        plane += plane > 0 ? 1 : 0;
        if (rest < plane * p.marching_steps) break;
        rest -= plane * p.marching_steps;
        if (p.fused > 1 || ++w == p.axis[2].stride) w = 0, ++h;
      }
      const int start = at_ - rest;
      unit->begin = (rest + plane - 1) / plane;
      unit->end = min(p.marching_steps, (end_ - start + plane - 1) / plane);
      at_ = start + plane * p.marching_steps;
      if (unit->begin < unit->end) return true;
    }
    return false;
  }

 private:
  int at_, end_;
};

}  // namespace convt3d::cuda::halo_gemm
