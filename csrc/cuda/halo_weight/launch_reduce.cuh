// SPDX-License-Identifier: BSD-3-Clause
// The launch that adds all blocks' pieces.
#pragma once
#include <algorithm>

#include "cuda/halo_weight/fold.h"
#include "cuda/halo_weight/reduce.cuh"
#include "cuda/halo_weight/taps.h"
#include "cuda/sm90/overlapping_launch.cuh"
#include "geometry/ceil_div.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_weight {

struct Sums {
  const Problem& problem;
  const TensorView& weight;
  int channels, out_width;  // in_channels of an instruction, out_channels of a row
  cudaStream_t stream;
  Line line;
};

template <typename T>
void reduce(const Sums& sums, const Taps& taps, const Work& work) {
  const Problem& problem = sums.problem;
  const TensorView& weight = sums.weight;
  Reduce r{};
  r.work = work;
  r.result = weight.data;
  std::copy(weight.stride.begin(), weight.stride.end(), r.stride);
  r.in_channels = static_cast<int>(problem.in_channels);
  r.out_channels = static_cast<int>(problem.out_channels);
  r.taps = static_cast<int>(volume(problem.kernel));
  r.channels = sums.channels;
  r.out_width = sums.out_width;
  r.line_first = static_cast<int>(sums.line.first);
  r.line = static_cast<int>(sums.line.length);
  r.out_inner = weight.stride[1] == 1;
  r.by_inner = make_divisor(r.out_inner ? r.out_channels : r.taps);
  r.by_lanes = make_divisor(std::max(1, kGroupRows / sums.out_width));
  r.by_width = make_divisor(sums.out_width);
  r.by_units = make_divisor(work.job_units);
  r.by_w = make_divisor(problem.kernel[2]);
  r.by_h = make_divisor(problem.kernel[1]);
  for (size_t i = 0; i < taps.lanes.size(); ++i) {
    if (taps.lanes[i].tap >= 0) r.lane_of[taps.lanes[i].tap] = static_cast<uint16_t>(i);
  }
  const auto launch = [&](auto kernel, int rows) {
    const dim3 blocks(static_cast<unsigned>(ceil_div(int64_t{r.out_channels} * r.taps, rows)),
                      static_cast<unsigned>(ceil_div(r.in_channels, kReduceChannels)));
    sm90::launch_overlapping("halo_weight reduce_kernel", kernel,
                             {blocks, kReduceThreads, 0, sums.stream}, r);
  };
  const int pieces = work.blocks / work.jobs;
  if (pieces >= kVeryManyPieces) {
    launch(reduce_kernel<T, 32, 1>, 1);
  } else if (pieces >= kManyPieces) {
    launch(reduce_kernel<T, 4, kFewReduceRows>, kFewReduceRows);
  } else {
    launch(reduce_kernel<T, 1, kMostReduceRows>, kMostReduceRows);
  }
}

}  // namespace convt3d::cuda::halo_weight
