// SPDX-License-Identifier: BSD-3-Clause
// Checked launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/line_weight/kernel.cuh"
#include "cuda/line_weight/reduce.cuh"

namespace convt3d::cuda::line_weight {

template <typename T, int kIndex>
void run_tile(const Launch& launch) {
  constexpr Tile kTile = kTiles[kIndex];
  const Params& p = launch.params;
  const auto kernel = line_kernel<T, kIndex>;
  const int bytes =
      kStageAlign + p.stages * p.stage_bytes +
      kSlotBytes *
          (slots_of(std::min(p.lines, kTile.lines()) * p.row_pieces, p.output.piece) +
           slots_of(std::min(p.in_channels, kTile.columns) * p.column_pieces, p.input.piece));
  allow_shared_memory(kernel, "line_weight shared memory");
  launch_grid("line_weight kernel", kernel,
              {static_cast<unsigned>(p.jobs * p.splits), kThreads, bytes, launch.stream, false,
               p.clustered ? p.splits : 1},
              p);
  if (p.splits == 1 || p.clustered) return;
  int lanes = 1;
  while (2 * lanes <= std::min(p.splits, kReduceWarps)) lanes *= 2;
  const int64_t items = int64_t{p.jobs} * (kTile.columns / 8) * (kConsumerThreads / 32);
  sm90::launch_overlapping("line_weight reduce_kernel", reduce_kernel<T, kIndex>,
                           {dim3(static_cast<unsigned>(items * lanes / kReduceWarps)),
                            dim3(kReduceThreads), 0, launch.stream},
                           p, lanes);
}

template <Precision kPrecision>
void run(const Launch& launch, int tile) {
  const bool found = [&]<int... kIndices>(std::integer_sequence<int, kIndices...>) {
    return ((tile == kIndices && (run_tile<ElementOf<kPrecision>, kIndices>(launch), true)) || ...);
  }(std::make_integer_sequence<int, static_cast<int>(std::size(kTiles))>());
  if (!found) throw std::logic_error("line_weight has no such tile");
}

}  // namespace convt3d::cuda::line_weight
