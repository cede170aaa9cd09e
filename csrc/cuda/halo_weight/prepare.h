// SPDX-License-Identifier: BSD-3-Clause
// What the launches of both kernels begin with.
#pragma once
#include <algorithm>

#include "cuda/common/alignment.h"
#include "cuda/halo_weight/params.h"
#include "cuda/halo_weight/turned.h"
#include "cuda/sm90/row_pack.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_weight {

// `part_units`: of one of `parts` of out_channels.
template <typename Config>
Work make_work(const Config& c, void* workspace, int job_units, int part_units, int64_t parts) {
  Work work{};
  work.partial = static_cast<float*>(workspace);
  work.piece = piece_elements(c);
  work.direct = c.direct;
  work.blocks = c.blocks;
  work.jobs = c.unit_jobs * c.in_tiles;
  work.boxes = static_cast<int>(c.all_tiles);
  const int groups = c.apart ? work.jobs : 1;
  work.group_boxes = work.jobs * work.boxes / groups;
  work.group_blocks = work.blocks / groups;
  work.share = work.group_boxes / work.group_blocks;
  work.longer = work.group_boxes % work.group_blocks;
  work.in_tiles = c.in_tiles;
  work.job_units = job_units;
  work.part_units = part_units;
  work.units = part_units * static_cast<int>(parts);
  return work;
}

inline Target make_target(const Problem& problem, const TensorView& weight) {
  Target target{};
  target.data = weight.data;
  std::copy(weight.stride.begin(), weight.stride.end(), target.stride);
  for (int a = 0; a < 3; ++a) target.kernel[a] = static_cast<int>(problem.kernel[a]);
  target.in_channels = static_cast<int>(problem.in_channels);
  target.out_channels = static_cast<int>(problem.out_channels);
  target.whole_pieces = rows_aligned(weight, problem.in_channels, problem.kernel, kElementBytes);
  return target;
}

// The tensor itself, or rows of channels at `packed`. `overlapping`: with the packing before it.
inline TensorView rows_of(int64_t batch, const TensorView& view, const Extent3& extent,
                          int64_t channels, bool packs, unsigned char* packed, bool overlapping,
                          cudaStream_t stream) {
  if (!packs) return view;
  const int64_t row = sm90::row_channels(channels, kElementBytes);
  sm90::pack_rows(
      {view.data, view.stride, batch, channels, extent, kElementBytes, packed, overlapping},
      stream);
  return {packed, {volume(extent) * row, 1, extent[1] * extent[2] * row, extent[2] * row, row}};
}

// Rows of out_channels at `rows`, which turn_weight() turns.
inline TensorView turned_rows(const Description& description, unsigned char* rows) {
  const Extent3& k = description.problem.kernel;
  const int64_t row = turned_row(description);
  return {rows, {volume(k) * row, 1, k[1] * k[2] * row, k[2] * row, row}};
}

}  // namespace convt3d::cuda::halo_weight
