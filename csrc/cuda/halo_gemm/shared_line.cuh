// SPDX-License-Identifier: BSD-3-Clause
// Items that blocks share (walk.cuh): the work of all items is one line that is cut into equal
// parts, one per block. The host says where; a thread of a block needed 8000 clocks for it.
#pragma once
#include <array>

#include "cuda/halo_gemm/params.cuh"

namespace convt3d::cuda::halo_gemm {

// Params::starts and item_planes.
struct SharedLine {
  std::array<LineStart, kMaxSharingBlocks + 1> starts{};
  std::array<unsigned short, kMaxResidues> item_planes{};
};

// Planes and chunks of a unit's item that begin before this much of its work: each counts as its
// taps of h and w, and kPlaneTaps.
inline int planes_before(const Params& p, Unit unit, int64_t work) {
  int planes = 0;
  for (int left = p.sum_residues;;) {
    if (unit.loads) {
      const int each = unit.axis(p, 1).num_taps * unit.axis(p, 2).num_taps + kPlaneTaps;
      const int number = unit.axis(p, 0).num_taps * p.chunks;
      if (work <= int64_t{number} * each)
        return planes + static_cast<int>((work + each - 1) / each);
      planes += number;
      work -= int64_t{number} * each;
    }
    if (--left == 0) return planes;
    unit.next(p);
  }
}

inline int64_t work_of(const Params& p, Unit unit) {
  int64_t work = 0;
  for (int left = p.sum_residues;;) {
    if (unit.loads) {
      const int each = unit.axis(p, 1).num_taps * unit.axis(p, 2).num_taps + kPlaneTaps;
      work += int64_t{unit.axis(p, 0).num_taps} * p.chunks * each;
    }
    if (--left == 0) return work;
    unit.next(p);
  }
}

// A plane and chunk is of the block in whose part it begins.
inline SharedLine cut_line(const Params& p, int blocks) {
  SharedLine line;
  const int residues = static_cast<int>(p.items) / p.residue_items;
  std::array<Unit, kMaxResidues> unit{};
  std::array<int64_t, kMaxResidues> work{};
  int64_t all = 0;
  for (int r = 0; r < residues; ++r) {
    const int of_w = p.order[r] % p.axis[2].stride, rest = p.order[r] / p.axis[2].stride;
    unit[r].set(p, rest / p.axis[1].stride, rest % p.axis[1].stride, of_w);
    work[r] = work_of(p, unit[r]);
    line.item_planes[r] = static_cast<unsigned short>(planes_before(p, unit[r], work[r]));
    all += work[r] * p.residue_items;
  }
  int residue = 0;
  int64_t start = 0;  // of the residue
  for (int b = 0; b < blocks; ++b) {
    const int64_t at = all * b / blocks;
    while (at - start >= work[residue] * p.residue_items) {
      start += work[residue] * p.residue_items;
      ++residue;
    }
    int64_t item = (at - start) / work[residue];
    int planes = planes_before(p, unit[residue], at - start - item * work[residue]);
    if (planes == line.item_planes[residue]) planes = 0, ++item;
    line.starts[b] = {static_cast<unsigned short>(residue * p.residue_items + item),
                      static_cast<unsigned short>(planes)};
  }
  line.starts[blocks] = {static_cast<unsigned short>(p.items), 0};
  return line;
}

}  // namespace convt3d::cuda::halo_gemm
