// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, and its launches.
#include "cuda/line_weight/pick_launch.h"

#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/line_weight/pick_kernel.cuh"
#include "cuda/line_weight/point_kernel.cuh"
#include "cuda/line_weight/point_rows_kernel.cuh"
#include "cuda/sm90/tensor_map.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::line_weight {
namespace {

template <Precision kPrecision>
void run_picks(const PickConfig& config, const PickParams& p, cudaStream_t stream) {
  auto kernel = config.loads == 0    ? point_kernel<kPrecision, sm90::Major::k>
                : config.taps == 2   ? pick_kernel<kPrecision, 8, 2>
                : config.loads == 16 ? pick_kernel<kPrecision, 16, 1>
                                     : pick_kernel<kPrecision, 8, 1>;
  if constexpr (kPrecision != Precision::tf32) {
    if (config.folds > 0) kernel = point_kernel<kPrecision, sm90::Major::mn>;
  } else if (config.rows) {
    const bool wide = config.job_channels > kPointPart;
    kernel = config.job_lines > 16 ? (wide ? point_rows_kernel<2, 2> : point_rows_kernel<2, 1>)
                                   : (wide ? point_rows_kernel<1, 2> : point_rows_kernel<1, 1>);
  }
  const int shared = config.loads == 0 ? kPointShared : kPickShared;
  allow_shared_memory(kernel, "line_weight pick attribute");
  const unsigned jobs = p.jobs.value;
  kernel<<<jobs* static_cast<unsigned>(p.splits), kPickThreads, shared, stream>>>(p);
  check(cudaGetLastError(), "line_weight pick_kernel");
  PickParams sums = p;
  if (config.folds > 0) {  // jobs are folded into one: more splits
    sums.splits *= static_cast<int>(jobs);
    sums.job_channels = as_int(round_up(p.in_channels, 8));
    sums.jobs = make_divisor(1);
  }
  const int items = pick_rows(p.job_lines * p.taps) / 16 * (sums.job_channels / 8);
  sm90::launch_overlapping("line_weight pick_reduce_kernel",
                           pick_reduce_kernel<ElementOf<kPrecision>>,
                           {dim3(sums.jobs.value * static_cast<unsigned>(items)),
                            dim3(32 * kPickReduceWarps), 0, stream},
                           sums);
}

}  // namespace

bool launch_picks(const Description& description, const PickConfig& config,
                  const Operands& operands, void* workspace, cudaStream_t stream) {
  const int64_t element = element_bytes(description.precision);
  const auto starts_on = [](const void* data, int64_t bytes) {
    return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) == 0;
  };
  const bool point = config.loads == 0;
  if (!starts_on(operands.input.data, 16) ||
      !starts_on(operands.output.data, point ? 16 : config.taps * element)) {
    return false;
  }
  const Problem& p = description.problem;
  const int64_t positions = volume(p.input);
  const auto map = [&](const void* data, int64_t channels, int64_t rows) {
    const std::array<int, 5> box{as_int(kPickRow / element), as_int(rows), 1, 1, 1};
    if (config.folds > 0) {
      const int64_t row = config.folds * channels, all = p.batch * positions / config.folds;
      return sm90::encode(
          {data, description.precision, {row, all, 1, 1, 1}, {1, row, row, row, row}, box});
    }
    const int64_t image = channels * positions;
    return sm90::encode({data,
                         description.precision,
                         {positions, channels, p.batch, 1, 1},
                         {1, positions, image, image, image},
                         box});
  };
  // point_rows_kernel.cuh: rows of positions, in boxes of some elements of them.
  const auto rows_map = [&](const void* data, int64_t row, int64_t folds, int64_t width,
                            bool swizzled) {
    const int64_t all = p.batch * positions / folds;
    return sm90::encode({data,
                         description.precision,
                         {row, all, 1, 1, 1},
                         {1, row, row, row, row},
                         {as_int(width), as_int(kPointPositions / folds), 1, 1, 1},
                         {1, 1, 1, 1, 1},
                         swizzled});
  };
  PickParams params{};
  if (config.rows) {
    const int64_t row = config.folds * p.out_channels;
    params.input = rows_map(operands.input.data, p.in_channels, 1, kPointPart, true);
    params.output_map = rows_map(operands.output.data, row, config.folds, row, false);
  } else {
    params.input = map(operands.input.data, p.in_channels, config.job_channels);
    if (point) params.output_map = map(operands.output.data, p.out_channels, point_lines(config));
  }
  params.output = operands.output.data;
  params.weight = operands.weight.data;
  params.partial = static_cast<float*>(workspace);
  params.output_batch = operands.output.stride[0];
  params.output_channel = operands.output.stride[1];
  for (int axis = 0; axis < 3; ++axis) {
    params.output_position[axis] = as_int(operands.output.stride[2 + axis] * p.stride[axis]);
    if (axis == 2) continue;
    params.output_tap[axis] = as_int(operands.output.stride[2 + axis] * p.dilation[axis]);
  }
  std::copy_n(operands.weight.stride.begin(), 5, params.weight_stride);
  params.in_channels = as_int(p.in_channels);
  params.lines = as_int(config.lines);
  params.volume = as_int(positions);
  params.job_channels = as_int(config.job_channels);
  params.job_lines = as_int(config.job_lines);
  params.taps = config.taps;
  params.stages = config.stages;
  params.folds = config.folds;
  params.stage_bytes = as_int(point_bytes(config));
  params.image_tiles = make_divisor(config.image_tiles);
  params.plane = make_divisor(p.input[1] * p.input[2]);
  params.line = make_divisor(p.input[2]);
  params.line_tiles = make_divisor(config.line_tiles);
  params.jobs = make_divisor(config.jobs);
  params.kernel_d = make_divisor(p.kernel[0]);
  params.kernel_h = make_divisor(p.kernel[1]);
  params.tiles = as_int(config.tiles);
  params.splits = as_int(config.splits);
  with_precision<Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision,
      [&]<Precision kPrecision>() { run_picks<kPrecision>(config, params, stream); });
  return true;
}

}  // namespace convt3d::cuda::line_weight
