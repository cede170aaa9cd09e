// SPDX-License-Identifier: BSD-3-Clause
// How the axes of a call may be cut: residues into spans, lines of positions into tiles.
#pragma once
#include <algorithm>
#include <vector>

#include "cuda/subpixel_gemm/config.h"
#include "cuda/subpixel_gemm/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::subpixel_gemm {

// Residues [first, end) of an axis: as many taps as any of them has, and the positions that any of
// them has outputs at.
struct Span {
  int64_t first, end, taps, first_q, num_q;

  Span(const Problem& p, int axis, int64_t begin, int64_t behind) : first(begin), end(behind) {
    const int64_t stride = p.stride[axis];
    taps = std::max<int64_t>(0, ceil_div(p.kernel[axis] - first + stride, stride) - 1);
    first_q = std::max<int64_t>(0, p.padding[axis] - (end - 1) + stride - 1) / stride;
    const int64_t last = p.output()[axis] - 1 + p.padding[axis] - first;
    num_q = last < 0 ? 0 : std::max<int64_t>(0, last / stride + 1 - first_q);
  }
};

// An axis cut into spans where taps or positions change, in all ways: one bit for each place.
inline std::vector<std::vector<Span>> cut_axis(const Problem& p, int axis) {
  const int64_t stride = p.stride[axis];
  std::vector<int64_t> places{p.kernel[axis] % stride, p.padding[axis] % stride,
                              (p.output()[axis] + p.padding[axis]) % stride};
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  places.erase(std::remove(places.begin(), places.end(), 0), places.end());
  std::vector<std::vector<Span>> ways;
  for (unsigned chosen = 0; chosen < 1u << places.size(); ++chosen) {
    std::vector<Span> spans;
    int64_t first = 0;
    for (size_t i = 0; i <= places.size(); ++i) {
      if (i < places.size() && (chosen >> i & 1) == 0) continue;
      const int64_t end = i < places.size() ? places[i] : stride;
      const Span span(p, axis, first, end);
      if (span.num_q > 0) spans.push_back(span);
      first = end;
    }
    ways.push_back(spans);
  }
  return ways;
}

// The class of two spans, of d and h, but for its lines.
inline ResidueClass class_of(const Span& d, const Span& h) {
  ResidueClass c{};
  const Span* spans[2] = {&d, &h};
  for (int axis = 0; axis < 2; ++axis) {
    c.residue[axis] = static_cast<int>(spans[axis]->first);
    c.residues[axis] = static_cast<int>(spans[axis]->end - spans[axis]->first);
    c.taps[axis] = static_cast<int>(spans[axis]->taps);
    c.first_q[axis] = static_cast<int>(spans[axis]->first_q);
    c.num_q[axis] = static_cast<int>(spans[axis]->num_q);
  }
  return c;
}

// Tiles of positions. In grad_input the parts of a line overlap: of each, the inputs have all taps.
inline void cut_lines(const Problem& p, Direction direction, const Span& w, Config* config) {
  int64_t first = w.first_q, positions = w.num_q, step = 0;
  if (positions <= kTileRows) {
    config->parts_w = 1;
    step = positions;
  } else if (direction == Direction::grad_input) {
    positions += first;
    first = 0;
    step = std::max<int64_t>(kTileRows + 1 - w.taps, 1);
    config->parts_w = static_cast<int>(ceil_div(p.input[2], step));
  } else {
    config->parts_w = static_cast<int>(ceil_div(positions, kTileRows));
    step = ceil_div(positions, config->parts_w);
  }
  config->first_q = static_cast<int>(first);
  config->num_q = static_cast<int>(positions);
  config->step_w = static_cast<int>(step);
  config->tile_w = static_cast<int>(
      direction == Direction::grad_input && config->parts_w > 1 ? kTileRows : step);
  config->tile_lines = kTileRows / config->tile_w;
}

}  // namespace convt3d::cuda::subpixel_gemm
